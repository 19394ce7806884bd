//! The rules of the state machine one by one, through its public API: what costs an attempt, what is run again, who gets the slots,
//! and how a job ends.

mod bench;
mod groups;
mod leases;
mod names;
mod needs;
mod programs;

use std::collections::BTreeMap;
use std::sync::Arc;

use bench::{A, B, Bench, JOB, Launched, launched, one_task, only, plan, stage};
use tandem_graph::StageRole;
use tandem_proto::{Epoch, JobId, PartitionId, StageId, Term};
use tandem_scheduler::{
    Action, AttemptId, Cluster, ClusterConfig, Event, Fact, FailureKind, FailureReason, JobOutcome, JobPlan, JobState,
    NodeState, PendingReason, RestoredCommit, RestoredJob, StagedFile, TaskOutcome, TaskOutput, TaskState, Timestamp,
};

#[test]
fn the_end_of_a_job_is_told_before_it_is_shown() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let at = only(&bench.accept(JOB, one_task()));
    let actions = bench.finish(at);
    let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
    let told = place(|action| matches!(action, Action::JobEnded { .. })).expect("its end");
    let shown = place(|action| matches!(action, Action::JobChanged { .. })).expect("a change");
    assert!(told < shown, "who must wait for its report knows by then");
}

#[test]
fn three_failures_of_its_own_fail_the_job_and_are_named() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let mut actions = bench.accept(JOB, one_task());
    for _ in 0..3 {
        actions = bench.fail(only(&actions), FailureKind::Retry);
    }
    let (reason, text) = bench.failure();
    assert_eq!(reason, FailureReason::AttemptsExhausted);
    for part in ["1 (work)", "1/0 attempt 2", "worker-1", "it broke"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_fatal_failure_is_not_tried_again_even_with_retries_left() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let actions = bench.accept(JOB, JobPlan { retries: 2, ..one_task() });
    bench.fail(only(&actions), FailureKind::Fatal);
    assert_eq!(bench.failure().0, FailureReason::Fatal);
}

#[test]
fn a_failed_job_lists_every_attempt_with_its_end() {
    let mut bench = Bench::new();
    bench.join(A, 3);
    let attempts = launched(&bench.accept(JOB, plan(vec![stage(&[], 4, StageRole::Exchange)])));
    bench.now += 10;
    bench.fail(attempts[0], FailureKind::Fatal);
    bench.now += 10;
    bench.fail(attempts[1], FailureKind::Retry);
    bench.fail(attempts[2], FailureKind::Cancelled);
    let tasks = bench.cluster.tasks(JOB).unwrap();
    let seen: Vec<_> = tasks
        .iter()
        .map(|task| {
            let AttemptId { task: id, attempt } = task.attempt;
            (id.index, attempt.0, task.state, task.message.as_str(), task.started.is_some(), task.ended)
        })
        .collect();
    let at = |ms| Some(Timestamp(ms));
    assert_eq!(
        seen,
        [
            (0, 0, TaskState::Failed, "it broke", true, at(1_010)),
            (1, 0, TaskState::Failed, "it broke", true, at(1_020)),
            (2, 0, TaskState::Cancelled, "", true, at(1_010)),
            (3, 0, TaskState::Cancelled, "", false, at(1_010)),
        ]
    );
    let stage = bench.cluster.job(JOB).unwrap().stages.remove(0);
    assert_eq!((stage.failed_attempts, stage.ended), (2, at(1_010)));
}

#[test]
fn a_full_worker_is_avoided_while_there_is_another() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let first = only(&bench.accept(JOB, one_task()));
    bench.join(B, 1);
    let second = only(&bench.fail(first, FailureKind::Resources));
    assert_eq!((first.0, second.0), (A, B));
}

#[test]
fn a_lost_worker_costs_nothing_but_the_third_makes_the_task_poisonous() {
    Bench::new().assert_poisonous_with(one_task(), 3);
}

#[test]
fn a_job_with_retries_starts_again_and_keeps_what_is_finished() {
    let mut bench = Bench::new();
    bench.join(A, 2);
    let stages = vec![stage(&[], 2, StageRole::Exchange)];
    let tasks = launched(&bench.accept(JOB, JobPlan { retries: 1, ..plan(stages) }));
    bench.finish(tasks[0]);
    let mut at = tasks[1];
    for _ in 0..2 {
        at = only(&bench.fail(at, FailureKind::Retry));
    }
    assert!(launched(&bench.fail(at, FailureKind::Retry)).is_empty());
    assert_eq!(bench.cluster.job(JOB).and_then(|job| job.pending_reason), Some(PendingReason::RetryDelay));
    let again = only(&bench.pass(1_000));
    assert_eq!(again.2.task.index, 1);
    bench.finish(again);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn an_unreadable_input_is_made_again_and_its_reader_after_it() {
    let mut bench = Bench::new();
    bench.join(A, 2);
    bench.join(B, 2);
    let stages = vec![stage(&[], 2, StageRole::Exchange), stage(&[1], 1, StageRole::Exchange)];
    let maps = launched(&bench.accept(JOB, plan(stages)));
    bench.finish(maps[0]);
    let reader = only(&bench.finish(maps[1]));
    let fetch = FailureKind::Fetch { stage: StageId(1), partition: PartitionId(0), worker: maps[0].0 };
    let map = only(&bench.fail(reader, fetch));
    assert_eq!((map.2.task.stage, map.2.task.index, map.2.attempt.0), (StageId(1), 0, 1), "only what was lost");
    let again = only(&bench.finish(map));
    assert_eq!(again.2.task, reader.2.task);
    bench.finish(again);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn what_is_not_deterministic_starts_its_readers_again() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let mut first = stage(&[], 1, StageRole::Exchange);
    first.deterministic = false;
    let stages = vec![first, stage(&[1], 2, StageRole::Sink("out".to_owned()))];
    let map = only(&bench.accept(JOB, plan(stages)));
    bench.join(B, 1);
    let readers = launched(&bench.finish(map));
    let on_b = readers.iter().copied().find(|reader| reader.0 == B).expect("readers are spread");
    bench.finish(on_b);
    let actions = bench.lose(map.0, map.1);
    let again = only(&actions);
    assert_eq!(again.2.task.stage, StageId(1));
    let mut starting = launched(&bench.finish(again));
    starting.extend(launched(&bench.finish(starting[0])));
    let tasks: Vec<_> = starting.iter().map(|at| at.2.task.index).collect();
    assert_eq!(tasks.len(), 2, "also the reader that had finished");
}

#[test]
fn slots_go_to_the_job_that_has_fewest() {
    let mut bench = Bench::new();
    bench.join(A, 4);
    let wide = || plan(vec![stage(&[], 8, StageRole::Exchange)]);
    let first = launched(&bench.accept(JOB, wide()));
    assert_eq!(first.len(), 4);
    assert!(launched(&bench.accept(JobId(2), wide())).is_empty());
    let next: Vec<_> = first[..3].iter().map(|&at| only(&bench.finish(at)).2.task.job).collect();
    assert_eq!(next, [JobId(2), JobId(2), JOB], "two each, then it is the longest waiting job's turn");
}

#[test]
fn an_attached_job_ends_with_its_followers() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.accept(JOB, JobPlan { attached: true, ..one_task() });
    bench.feed(Event::FollowerJoined { job: JOB });
    bench.feed(Event::FollowerLeft { job: JOB });
    bench.pass(400);
    assert_eq!(bench.outcome(), None);
    let actions = bench.pass(100);
    assert!(matches!(bench.outcome(), Some(JobOutcome::Stopped(_))));
    assert!(actions.iter().any(|action| matches!(action, Action::Cancel { .. })));
}

#[test]
fn without_workers_a_job_fails_after_the_grace_period_and_says_so() {
    let mut bench = Bench::new();
    bench.accept(JOB, one_task());
    assert_eq!(bench.cluster.job(JOB).and_then(|job| job.pending_reason), Some(PendingReason::NoWorkers));
    bench.pass(15_000);
    assert_eq!(bench.failure().0, FailureReason::NoWorkers);
}

#[test]
fn a_draining_worker_finishes_and_goes_when_its_output_was_read() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let stages = vec![stage(&[], 1, StageRole::Exchange), stage(&[1], 1, StageRole::Exchange)];
    let map = only(&bench.accept(JOB, plan(stages)));
    bench.feed(Event::DrainRequested { worker: A });
    bench.join(B, 1);
    let shut_down = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Shutdown { .. }));
    let actions = bench.finish(map);
    assert!(!shut_down(&actions), "its output is wanted");
    let reader = only(&actions);
    assert_eq!(reader.0, B);
    assert!(shut_down(&bench.finish(reader)));
    bench.feed(Event::WorkerDisconnected { worker: A, epoch: map.1 });
    assert_eq!(bench.cluster.nodes().iter().map(|node| node.worker).collect::<Vec<_>>(), [B], "it left in order");
}

#[test]
fn a_lost_worker_is_listed_for_a_while() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.join(B, 1);
    bench.lose(A, Epoch((1 << 32) + 1));
    let states = |bench: &Bench| bench.cluster.nodes().iter().map(|node| (node.worker, node.state)).collect::<Vec<_>>();
    assert_eq!(states(&bench), [(B, NodeState::Ready), (A, NodeState::Lost)]);
    bench.pass(60_000);
    assert_eq!(states(&bench), [(B, NodeState::Ready)]);
}

#[test]
fn a_silent_worker_gets_nothing_new_and_is_fenced() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let at = only(&bench.accept(JOB, one_task()));
    bench.pass_in_silence(1_600);
    assert_eq!(bench.cluster.nodes()[0].state, NodeState::Suspect);
    bench.pass_in_silence(500);
    assert_eq!(bench.cluster.nodes()[0].state, NodeState::Lost);
    assert!(bench.finish(at).is_empty(), "its late report is dropped");
    let again = bench.register(A, 1, vec![at.2], Vec::new());
    assert!(launched(&again).is_empty(), "what it runs is taken over");
    assert_eq!(bench.cluster.tasks(JOB).map(|tasks| tasks[1].state), Some(TaskState::Running));
}

/// Two workers of one slot, a job of two tasks of which one is finished and the other runs for too long; that one, and what its
/// lateness brings about.
fn with_straggler(bench: &mut Bench, role: StageRole) -> (Launched, Launched) {
    bench.join(A, 1);
    bench.join(B, 1);
    let tasks = launched(&bench.accept(JOB, plan(vec![stage(&[], 2, role)])));
    bench.now += 100;
    bench.finish(tasks[1]);
    assert!(launched(&bench.pass(500)).iter().all(|launch| launch.2 == tasks[0].2), "it is not late yet");
    let again = launched(&bench.pass(500)).into_iter().filter(|launch| launch.2 != tasks[0].2).collect::<Vec<_>>();
    let [second] = again[..] else { panic!("one more attempt was expected: {again:?}") };
    (tasks[0], second)
}

#[test]
fn of_a_straggler_and_its_second_attempt_the_first_to_finish_counts() {
    let mut bench = Bench::new();
    let (first, second) = with_straggler(&mut bench, StageRole::Sink("out".to_owned()));
    assert_eq!((first.2.task, first.0), (second.2.task, A));
    assert_eq!(second.0, B, "not where it is late");
    let running = bench.cluster.tasks(JOB).unwrap();
    let running: Vec<_> = running.iter().filter(|task| task.state == TaskState::Running).collect();
    assert_eq!(running.iter().map(|task| task.worker.as_str()).collect::<Vec<_>>(), ["worker-1", "worker-2"]);
    let (worker, epoch, attempt) = first;
    let actions = bench.finish(second);
    assert!(actions.contains(&Action::Cancel { worker, epoch, attempt }));
    let commits = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Commit { .. }));
    assert!(!commits(&actions), "the other may still write");
    assert!(commits(&bench.fail(first, FailureKind::Cancelled)));
    let attempts: Vec<_> = bench.cluster.tasks(JOB).unwrap().iter().map(|task| (task.state, task.started)).collect();
    let (since, later) = (Some(Timestamp(1_000)), Some(Timestamp(2_100)));
    assert_eq!(attempts, [(TaskState::Cancelled, since), (TaskState::Succeeded, later), (TaskState::Succeeded, since)]);
}

#[test]
fn a_straggler_runs_on_when_its_second_attempt_ends_without_success() {
    let mut bench = Bench::new();
    let (first, second) = with_straggler(&mut bench, StageRole::Exchange);
    assert!(launched(&bench.fail(second, FailureKind::Retry)).is_empty());
    let third = launched(&bench.pass(2_000)).into_iter().find(|launch| launch.2 != first.2);
    assert_eq!(third, None, "there is no other worker to try");
    bench.finish(first);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn the_second_attempt_of_a_straggler_goes_on_without_its_worker() {
    let mut bench = Bench::new();
    let (first, second) = with_straggler(&mut bench, StageRole::Exchange);
    let again = launched(&bench.lose(first.0, first.1));
    assert!(again.iter().all(|launch| launch.2 == second.2), "{again:?}");
    bench.finish(second);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn no_straggler_takes_the_slot_of_a_task_that_waits() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.join(B, 1);
    let tasks = launched(&bench.accept(JOB, plan(vec![stage(&[], 3, StageRole::Exchange)])));
    let third = only(&bench.finish(tasks[1]));
    bench.accept(JobId(2), plan(vec![stage(&[], 2, StageRole::Exchange)]));
    let other = only(&bench.finish(third));
    assert_eq!(other.2.task.job, JobId(2));
    assert!(launched(&bench.pass(5_000)).iter().all(|launch| [tasks[0].2, other.2].contains(&launch.2)));
}

#[test]
fn a_restarted_coordinator_takes_over_what_runs() {
    let mut before = Bench::new();
    before.join(A, 2);
    let shape = plan(vec![stage(&[], 1, StageRole::Exchange), stage(&[1], 1, StageRole::Sink("out".to_owned()))]);
    let map = only(&before.accept(JOB, shape.clone()));
    let sink = only(&before.finish(map));
    let (mut bench, _) = before.restarted_with(shape, ClusterConfig::default());
    assert_eq!(bench.cluster.job(JOB).map(|job| job.state), Some(JobState::Running));
    let actions = bench.register(A, 2, vec![sink.2], vec![map.2]);
    assert!(launched(&actions).is_empty(), "neither the finished stage nor the running task starts again");
    let epoch = bench.cluster_epoch(&actions);
    let file = StagedFile {
        sink: "out".to_owned(),
        staged_path: "staged".to_owned(),
        final_path: "final".to_owned(),
        rows: 1,
        bytes: 1,
        multipart_id: String::new(),
        parts: Vec::new(),
    };
    let output = TaskOutput { files: vec![file.clone()], ..TaskOutput::default() };
    let actions = bench.report((A, epoch, sink.2), TaskOutcome::Finished(Box::new(output)));
    assert!(actions.contains(&Action::Commit { job: JOB, files: vec![file] }));
    bench.feed(Event::CommitFinished { job: JOB, outcome: Ok(()) });
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn a_coordinator_that_knows_all_workers_gone_does_not_wait_for_them() {
    let mut before = Bench::new();
    before.join(A, 2);
    let shape = plan(vec![stage(&[], 1, StageRole::Exchange), stage(&[1], 1, StageRole::Sink("out".to_owned()))]);
    let map = only(&before.accept(JOB, shape.clone()));
    before.finish(map);
    let config = ClusterConfig { expect_workers: false, ..ClusterConfig::default() };
    let (mut bench, actions) = before.restarted_with(shape, config);
    assert!(actions.contains(&Action::Record(Fact::WorkerGone { worker: A })));
    assert!(bench.cluster.nodes().is_empty(), "{:?}", bench.cluster.nodes());
    let again = only(&bench.join(B, 2));
    assert_eq!(again.2.task, map.2.task, "what the worker held is made again at once");
}

impl Bench {
    /// The cluster after a restart of the coordinator with its one job, and what it does at once.
    fn restarted_with(self, shape: JobPlan, config: ClusterConfig) -> (Self, Vec<Action>) {
        let restored = RestoredJob {
            job: JOB,
            plan: Arc::new(shape),
            accepted: Timestamp(1_000),
            accepted_term: Term(1),
            commit: RestoredCommit::None,
        };
        let (cluster, actions) = Cluster::restore(config, Term(2), Timestamp(5_000), vec![restored], self.facts);
        (Self { cluster, now: 5_000, facts: Vec::new(), leases: BTreeMap::new() }, actions)
    }

    fn cluster_epoch(&self, actions: &[Action]) -> Epoch {
        let epoch = |action: &Action| match action {
            Action::Registered { epoch, .. } => Some(*epoch),
            _ => None,
        };
        actions.iter().find_map(epoch).expect("a registration is answered")
    }
}
