//! Stages whose tasks need more than a slot: where they run, what they say when they wait, and that nothing is given twice.

use tandem_graph::{StageNeeds, StageRole};
use tandem_proto::{JobId, StageId, WorkerId};
use tandem_scheduler::{
    Action, CPUS, Event, FailureKind, FailureReason, JobPlan, LeaseGrant, PendingReason, StagePlan, WorkerInfo,
};

use super::bench::{A, B, Bench, JOB, Launched, launched, only, plan, stage};
use super::leases::{granted, hosts, registration, revoked, shape};
use super::programs::program;

const C: WorkerId = WorkerId(3);
const OTHER: JobId = JobId(2);
const THIRD: JobId = JobId(3);

fn needing(stage: StagePlan, amounts: &[(&str, u64)]) -> StagePlan {
    let needs = StageNeeds {
        step: "vectors".to_owned(),
        milli: amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect(),
        ..StageNeeds::default()
    };
    StagePlan { needs: Some(needs), ..stage }
}

/// A job of one stage, of so many tasks that each need this.
fn needs(tasks: u32, amounts: &[(&str, u64)]) -> JobPlan {
    plan(vec![needing(stage(&[], tasks, StageRole::Exchange), amounts)])
}

fn workers(launched: &[Launched]) -> Vec<WorkerId> {
    launched.iter().map(|(worker, ..)| *worker).collect()
}

/// Two workers of two slots, of which the second has a GPU.
fn mixed() -> Bench {
    let mut bench = Bench::new();
    bench.join(A, 2);
    bench.join_with(B, 2, &[("gpus", 1_000)], &[("zone", "b")]);
    bench
}

fn why(bench: &Bench, job: JobId) -> String {
    let reason = bench.cluster.job(job).and_then(|job| job.pending_reason);
    reason.map(|reason| reason.to_string()).unwrap_or_default()
}

#[test]
fn tasks_run_where_what_they_need_is_and_other_stages_everywhere() {
    let mut bench = mixed();
    let scan = stage(&[], 4, StageRole::Exchange);
    let embed = needing(stage(&[1], 3, StageRole::Exchange), &[("gpus", 1_000)]);
    let sink = stage(&[2], 4, StageRole::Sink("out".to_owned()));
    let first = launched(&bench.accept(JOB, plan(vec![scan, embed, sink])));
    assert_eq!(first.len(), 4, "all slots");
    let mut last = Vec::new();
    for task in first {
        last = bench.finish(task);
    }
    for _ in 0..3 {
        let one = only(&last);
        assert_eq!((one.0, one.2.task.stage), (B, StageId(2)), "one at a time, where the GPU is");
        let used = |bench: &Bench| bench.cluster.nodes().iter().map(|node| node.used.amount("gpus")).sum::<u64>();
        assert_eq!(used(&bench), 1_000);
        last = bench.finish(one);
    }
    let mut placed = workers(&launched(&last));
    placed.sort_unstable();
    assert_eq!(placed, [A, A, B, B]);
}

#[test]
fn two_jobs_share_a_device_and_a_third_waits() {
    let mut bench = mixed();
    let half = || needs(1, &[("gpus", 500)]);
    let first = only(&bench.accept(JOB, half()));
    let second = only(&bench.accept(OTHER, half()));
    assert_eq!((first.0, second.0), (B, B));
    assert_eq!(launched(&bench.accept(THIRD, half())), []);
    assert_eq!(why(&bench, THIRD), "waits for resources: step `vectors` needs gpus 0.5, and all of it is in use");
    let code = bench.cluster.tasks(THIRD).unwrap()[0].pending_reason.as_ref().map(PendingReason::code);
    assert_eq!(code.as_deref(), Some("resources-in-use: step `vectors` needs gpus 0.5"));
    assert_eq!(only(&bench.finish(first)).2.task.job, THIRD);
}

#[test]
fn a_task_waits_for_a_worker_that_could_run_it_and_goes_on_when_one_joins() {
    let mut bench = Bench::new();
    bench.join(A, 2);
    assert_eq!(launched(&bench.accept(JOB, needs(1, &[("gpus", 1_000)]))), []);
    let missing = "waits for another worker: step `vectors`: it needs 1 of `gpus`, and no worker has more than 0";
    assert_eq!(why(&bench, JOB), missing);
    let task = &bench.cluster.tasks(JOB).unwrap()[0];
    assert!(task.pending_reason.as_ref().is_some_and(|reason| reason.code().starts_with("no-such-worker: ")));
    bench.join_with(B, 1, &[("gpus", 1_000)], &[]);
    let running = bench.cluster.tasks(JOB).unwrap();
    assert_eq!(running[0].worker, "worker-2");
    bench.lose(B, Bench::epoch(B));
    assert_eq!(why(&bench, JOB), missing, "it is gone in the middle");
    bench.join_with(C, 1, &[("gpus", 2_000)], &[]);
    assert_eq!(bench.cluster.tasks(JOB).unwrap().last().map(|task| task.worker.clone()).as_deref(), Some("worker-3"));
}

#[test]
fn a_stage_that_no_worker_could_ever_run_fails_after_the_grace() {
    let mut bench = Bench::new();
    bench.join(A, 2);
    bench.accept(JOB, needs(1, &[("gpus", 1_000)]));
    bench.pass(59_000);
    assert_eq!(bench.outcome(), None);
    bench.pass(2_000);
    let (reason, text) = bench.failure();
    assert_eq!(reason, FailureReason::Unschedulable);
    for part in ["vectors", "`gpus`", "60 s", "1 (work)"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn grace_counts_from_when_the_last_such_worker_was_lost() {
    let mut bench = mixed();
    let task = only(&bench.accept(JOB, needs(1, &[("gpus", 1_000)])));
    bench.pass(90_000);
    bench.lose(task.0, task.1);
    bench.pass(50_000);
    assert_eq!(bench.outcome(), None);
    bench.pass(15_000);
    assert_eq!(bench.failure().0, FailureReason::Unschedulable);
}

#[test]
fn a_device_is_given_to_tasks_of_stages_or_to_leases_and_never_twice() {
    let mut bench = mixed();
    let driver = only(&bench.accept(OTHER, program()));
    let gpu = || shape(&[("gpus", 1_000)]);
    let lease: LeaseGrant = granted(&bench.want(driver.0, OTHER, gpu(), 1)).remove(0);
    assert_eq!(lease.host, B);
    assert_eq!(launched(&bench.accept(JOB, needs(2, &[("gpus", 1_000)]))), []);
    // It has more than its share.
    let taken_back = revoked(&bench.pass(1_000));
    assert!(taken_back.is_empty(), "a job that has one of one does not have more than its share: {taken_back:?}");
    let task = only(&bench.give_back(&lease));
    assert_eq!((task.0, task.2.task.job), (B, JOB));
    assert!(hosts(&bench.want(driver.0, OTHER, gpu(), 2)).is_empty(), "now the task has it");
    assert_eq!(hosts(&bench.finish(task)), [B], "the job that has none is next");
}

#[test]
fn who_has_more_devices_than_its_share_gives_leases_back_to_stages() {
    let mut bench = Bench::new();
    bench.join(A, 2);
    bench.join_with(B, 4, &[("gpus", 2_000)], &[]);
    let driver = only(&bench.accept(OTHER, program()));
    let leases = granted(&bench.want(driver.0, OTHER, shape(&[("gpus", 1_000)]), 9));
    assert_eq!(leases.len(), 2);
    bench.accept(JOB, needs(5, &[("gpus", 1_000)]));
    let taken_back = revoked(&bench.pass(1_000));
    let lease = leases.iter().find(|lease| taken_back.iter().any(|(_, id)| *id == lease.lease)).expect("one of them");
    assert_eq!(only(&bench.give_back(lease)).0, B);
}

#[test]
fn several_processors_are_booked_and_labels_are_kept() {
    let mut bench = mixed();
    let labels = [("zone".to_owned(), "b".to_owned())].into();
    let labelled = StageNeeds { step: "there".to_owned(), labels, ..StageNeeds::default() };
    let there = StagePlan { needs: Some(labelled), ..stage(&[], 9, StageRole::Exchange) };
    assert_eq!(workers(&launched(&bench.accept(OTHER, plan(vec![there])))), [B, B]);
    let two = only(&bench.accept(JOB, needs(3, &[(CPUS, 2_000)])));
    assert_eq!((two.0, bench.cluster.summary().slots_used), (A, 4));
    assert_eq!(workers(&launched(&bench.finish(two))), [A], "on B there is no room for two");
}

#[test]
fn plain_jobs_get_their_share_beside_stages_that_need_more_processors() {
    let mut bench = Bench::new();
    bench.join(A, 4);
    let many = launched(&bench.accept(JOB, needs(100, &[(CPUS, 2_000)])));
    assert_eq!(many.len(), 2);
    bench.accept(OTHER, plan(vec![stage(&[], 100, StageRole::Exchange)]));
    let freed = launched(&bench.finish(many[0]));
    assert!(freed.iter().all(|(_, _, attempt)| attempt.task.job == OTHER) && freed.len() == 2, "{freed:?}");
}

#[test]
fn what_runs_keeps_its_device_over_a_restart_and_what_failed_goes_elsewhere() {
    let mut bench = mixed();
    let job = || needs(2, &[("gpus", 1_000)]);
    let task = only(&bench.accept(JOB, job()));
    let mut bench = bench.restarted(&[(JOB, job())]);
    let info = || WorkerInfo { slots: 2, resources: shape(&[("gpus", 1_000)]).resources, ..WorkerInfo::default() };
    let back = bench.feed(Event::WorkerRegistered(Box::new(tandem_scheduler::Registration {
        info: info(),
        running: vec![task.2],
        ..registration(B)
    })));
    assert_eq!(launched(&bench.join(A, 2)), [], "there is no second device");
    let used: u64 = bench.cluster.nodes().iter().map(|node| node.used.amount("gpus")).sum();
    assert_eq!(used, 1_000);
    let epoch = bench.epoch_of(&back);
    bench.feed(Event::WorkerRegistered(Box::new(tandem_scheduler::Registration { info: info(), ..registration(C) })));
    let second = bench.cluster.tasks(JOB).unwrap().into_iter().find(|view| view.attempt.task.index == 1).unwrap();
    assert_eq!(second.pending_reason, None, "the other one has a device of its own");
    let again = only(&bench.fail((B, epoch, task.2), FailureKind::Retry));
    assert_eq!(again.0, B, "nothing is held against it: nobody knows what it had read");
    assert_eq!(launched(&bench.fail(again, FailureKind::Retry)), [], "now it goes elsewhere, where all is taken");
    let first = bench.cluster.tasks(JOB).unwrap().into_iter().find(|view| view.pending_reason.is_some());
    assert_eq!(first.and_then(|task| task.pending_reason), Some(PendingReason::AvoidsFreeWorkers));
}

#[test]
fn a_second_attempt_of_a_straggler_needs_a_device_too() {
    let mut bench = mixed();
    bench.join_with(C, 2, &[("gpus", 1_000)], &[]);
    let mut running = launched(&bench.accept(JOB, needs(2, &[("gpus", 1_000)])));
    assert_eq!(running.len(), 2);
    let slow = running.pop().expect("two");
    bench.finish(running.remove(0));
    let raced = launched(&bench.pass(5_000));
    assert!(
        raced.iter().all(|(worker, _, attempt)| *worker != slow.0 && *worker != A && attempt.task == slow.2.task),
        "{raced:?}"
    );
    assert_eq!(raced.len(), 1);
    let cancelled = bench.finish(raced[0]);
    assert!(cancelled.iter().any(|action| matches!(action, Action::Cancel { .. })));
}
