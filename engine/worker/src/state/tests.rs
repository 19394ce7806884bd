//! The worker's promises, as tables of events and the messages that follow, and over random histories.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tandem_proto::v1::task_report::Outcome;
use tandem_proto::v1::{
    CancelTask, Drain, DropOutput, LaunchTask, Registered, Rejected, ReportAck, Shutdown, TaskAttempt, TaskReport,
};

use super::*;

const WORKER: u64 = 7;

fn attempt(job: u64, stage: u32, task: u32) -> TaskAttempt {
    TaskAttempt { job, stage, task, attempt: 0 }
}

fn worker() -> WorkerState {
    WorkerState::new(v1::Register { worker: WORKER, ..v1::Register::default() })
}

fn say(epoch: u64, message: FromCoordinator) -> Event {
    Event::Received(Box::new(CoordinatorMessage { epoch, message: Some(message) }))
}

fn registered(term: u64) -> FromCoordinator {
    FromCoordinator::Registered(Registered { term, heartbeat_interval_ms: 500, ..Registered::default() })
}

fn launch(of: TaskAttempt) -> FromCoordinator {
    FromCoordinator::Launch(LaunchTask {
        attempt: Some(of),
        partitions: vec![of.task],
        first_output: of.task,
        ..LaunchTask::default()
    })
}

fn drop_output(job: u64, stage: Option<u32>) -> FromCoordinator {
    FromCoordinator::DropOutput(DropOutput { job, stage: stage.unwrap_or(0), all_stages: stage.is_none() })
}

fn ack(sequence: u64) -> FromCoordinator {
    FromCoordinator::Ack(ReportAck { sequence })
}

fn ended(of: TaskAttempt, outcome: Result<TaskFinished, TaskFailed>) -> Event {
    Event::Ended(TaskEnd { id: of.into(), outputs: of.task..of.task + 1, outcome })
}

fn finished(of: TaskAttempt) -> Event {
    ended(of, Ok(TaskFinished { partition_sizes: vec![9], ..TaskFinished::default() }))
}

fn failed(of: TaskAttempt) -> Event {
    ended(of, Err(TaskFailed { kind: FailureKind::Retry.into(), ..TaskFailed::default() }))
}

/// A worker attached under `epoch` to a coordinator of term 1.
fn attached(epoch: u64) -> WorkerState {
    let mut worker = worker();
    worker.handle(Event::LinkOpened);
    worker.handle(say(epoch, registered(1)));
    assert!(worker.is_attached());
    worker
}

/// A worker attached under epoch 1 that runs `attempts`.
fn running(attempts: &[TaskAttempt]) -> WorkerState {
    let mut worker = attached(1);
    for of in attempts {
        let actions = worker.handle(say(1, launch(*of)));
        assert!(matches!(&actions[..], [Action::Start(started)] if started.id == (*of).into()), "{actions:?}");
    }
    worker
}

fn reports(actions: &[Action]) -> Vec<TaskReport> {
    let sent = actions.iter().filter_map(|action| match action {
        Action::Send(WorkerMessage { message: Some(ToCoordinator::Report(report)), .. }) => Some(report.clone()),
        _ => None,
    });
    sent.collect()
}

fn registration(actions: &[Action]) -> v1::Register {
    match actions {
        [Action::Send(WorkerMessage { epoch: 0, message: Some(ToCoordinator::Register(register)) })] => {
            register.clone()
        }
        other => panic!("no registration: {other:?}"),
    }
}

fn kind(report: &TaskReport) -> Option<FailureKind> {
    match report.outcome.as_ref()? {
        Outcome::Failed(failed) => Some(failed.kind()),
        Outcome::Finished(_) => None,
    }
}

#[test]
fn a_report_is_repeated_with_its_sequence_until_it_is_acknowledged() {
    let task = attempt(1, 1, 0);
    let mut worker = running(&[task]);
    let first = reports(&worker.handle(finished(task)));
    assert_eq!(first.len(), 1);

    let beats: Vec<_> = (0..8).map(|_| reports(&worker.handle(Event::Beat(Sample::default())))).collect();
    let repeated: Vec<_> = beats.into_iter().flatten().collect();
    assert_eq!(repeated, [first[0].clone(), first[0].clone()], "each fourth heartbeat");

    worker.handle(Event::LinkClosed);
    worker.handle(Event::LinkOpened);
    assert_eq!(reports(&worker.handle(say(2, registered(1)))), first, "and on each new stream");

    worker.handle(say(2, ack(first[0].sequence)));
    let quiet: Vec<_> = (0..8).flat_map(|_| reports(&worker.handle(Event::Beat(Sample::default())))).collect();
    assert_eq!(quiet, []);
}

#[test]
fn a_new_stream_starts_with_what_runs_and_what_is_held() {
    let (done, broken, busy) = (attempt(1, 1, 0), attempt(1, 1, 1), attempt(1, 1, 2));
    let mut worker = running(&[done, broken, busy]);
    worker.handle(Event::LinkClosed);
    assert_eq!(reports(&worker.handle(finished(done))), [], "nobody listens");
    worker.handle(failed(broken));

    let register = registration(&worker.handle(Event::LinkOpened));
    assert_eq!((register.worker, register.term), (WORKER, 1));
    assert_eq!(register.running, [busy]);
    assert_eq!(register.held.iter().map(|held| held.attempt.unwrap()).collect::<Vec<_>>(), [done]);
    assert_eq!(register.held[0].finished.as_ref().unwrap().partition_sizes, [9]);

    let owed = reports(&worker.handle(say(2, registered(1))));
    assert_eq!(owed.iter().map(|report| report.attempt.unwrap()).collect::<Vec<_>>(), [done, broken]);
}

#[test]
fn what_comes_under_another_epoch_is_dropped() {
    let mut worker = attached(5);
    for epoch in [0, 4, 6] {
        assert_eq!(worker.handle(say(epoch, launch(attempt(1, 1, 0)))), []);
        assert_eq!(worker.handle(say(epoch, FromCoordinator::Shutdown(Shutdown {}))), []);
    }
    worker.handle(Event::LinkClosed);
    assert_eq!(worker.handle(say(5, launch(attempt(1, 1, 0)))), []);
}

#[test]
fn a_coordinator_of_a_lower_term_is_left() {
    for (term, taken) in [(0, false), (1, true), (2, true)] {
        let mut worker = attached(1);
        worker.handle(Event::LinkClosed);
        worker.handle(Event::LinkOpened);
        let actions = worker.handle(say(2, registered(term)));
        assert_eq!(actions == [Action::CloseLink], !taken, "term {term}: {actions:?}");
        assert_eq!(worker.is_attached(), taken);
    }
}

#[test]
fn a_launch_is_run_once_whatever_came_of_it() {
    let (busy, done, broken) = (attempt(1, 1, 0), attempt(1, 1, 1), attempt(1, 1, 2));
    let mut worker = running(&[busy, done, broken]);
    worker.handle(finished(done));
    worker.handle(failed(broken));
    for of in [busy, done, broken] {
        assert_eq!(worker.handle(say(1, launch(of))), [], "{of:?}");
    }
}

#[test]
fn a_cancelled_attempt_reports_what_it_became() {
    let (stopped, faster) = (attempt(1, 1, 0), attempt(1, 1, 1));
    let mut worker = running(&[stopped, faster]);
    for of in [stopped, faster] {
        let cancel = || say(1, FromCoordinator::Cancel(CancelTask { attempt: Some(of) }));
        assert_eq!(worker.handle(cancel()), [Action::Cancel(of.into())]);
        assert_eq!(worker.handle(cancel()), [], "a repeat changes nothing");
    }
    let report = reports(&worker.handle(ended(stopped, Err(cancelled()))));
    assert_eq!(kind(&report[0]), Some(FailureKind::Cancelled));
    let report = reports(&worker.handle(finished(faster)));
    assert_eq!(kind(&report[0]), None, "it had finished before it was cancelled");
    assert_eq!(worker.held(), 1);
}

#[test]
fn a_dropped_jobs_attempts_leave_nothing() {
    let (done, busy, other) = (attempt(1, 1, 0), attempt(1, 2, 0), attempt(2, 1, 0));
    let mut worker = running(&[done, busy, other]);
    worker.handle(finished(done));
    let actions = worker.handle(say(1, drop_output(1, None)));
    assert_eq!(actions, [Action::DropJob(JobId(1)), Action::Cancel(busy.into())]);
    assert_eq!(worker.held(), 0);

    let actions = worker.handle(finished(busy));
    assert_eq!(actions[0], Action::DropAttempt(busy.into(), 0..1), "it had finished before it was cancelled");
    assert_eq!(kind(&reports(&actions)[0]), Some(FailureKind::Cancelled));
    assert_eq!((worker.held(), worker.running()), (0, 1));
}

#[test]
fn a_dropped_stages_running_attempts_go_on() {
    let (done, busy, next) = (attempt(1, 1, 0), attempt(1, 1, 1), attempt(1, 2, 0));
    let mut worker = running(&[done, busy, next]);
    worker.handle(finished(done));
    worker.handle(finished(next));
    assert_eq!(worker.handle(say(1, drop_output(1, Some(1)))), [Action::DropStage(JobId(1), StageId(1))]);
    assert_eq!((worker.held(), worker.running()), (1, 1));
}

#[test]
fn jobs_of_which_nothing_is_left_are_forgotten_at_the_next_registration() {
    let (failed_job, held_job, busy_job) = (attempt(1, 1, 0), attempt(2, 1, 0), attempt(3, 1, 0));
    let mut worker = running(&[failed_job, held_job, busy_job]);
    worker.handle(failed(failed_job));
    worker.handle(finished(held_job));
    worker.handle(Event::LinkClosed);
    worker.handle(Event::LinkOpened);
    let actions = worker.handle(say(2, registered(2)));
    assert!(actions.contains(&Action::KeepJobs(BTreeSet::from([JobId(2), JobId(3)]))), "{actions:?}");
}

#[test]
fn draining_is_said_once_it_can_be_and_again_on_each_stream() {
    let draining = |actions: &[Action]| {
        actions.iter().any(|action| {
            matches!(action, Action::Send(WorkerMessage { message: Some(ToCoordinator::Draining(_)), .. }))
        })
    };
    let mut worker = worker();
    worker.handle(Event::LinkOpened);
    assert_eq!(worker.handle(Event::DrainRequested), [Action::StartDrainTimer], "nobody to tell");
    assert!(draining(&worker.handle(say(1, registered(1)))));

    let mut worker = attached(1);
    let actions = worker.handle(say(1, FromCoordinator::Drain(Drain {})));
    assert!(actions.contains(&Action::StartDrainTimer) && draining(&actions), "{actions:?}");
    assert!(!worker.handle(Event::DrainRequested).contains(&Action::StartDrainTimer), "one timer");
    assert_eq!(worker.handle(say(1, FromCoordinator::Shutdown(Shutdown {}))), [Action::Exit(Exit::Shutdown)]);
}

#[test]
fn without_a_coordinator_a_draining_worker_stays_only_for_what_it_has() {
    let leave = Action::Exit(Exit::Shutdown);
    assert_eq!(worker().handle(Event::DrainRequested), [Action::StartDrainTimer, leave]);

    let (broken, done) = (attempt(1, 1, 0), attempt(1, 1, 1));
    for (task, end, leaves) in [(broken, failed(broken), true), (done, finished(done), false)] {
        let mut worker = running(&[task]);
        worker.handle(Event::DrainRequested);
        assert_eq!(worker.handle(Event::LinkClosed), [], "something runs");
        let actions = worker.handle(end);
        assert_eq!(actions == [Action::Exit(Exit::Shutdown)], leaves, "{actions:?}");
    }
}

#[test]
fn a_draining_worker_asks_its_node_and_says_whether_it_may_leave() {
    let said = |actions: &[Action]| {
        let beat = |action: &Action| match action {
            Action::Send(WorkerMessage { message: Some(ToCoordinator::Heartbeat(beat)), .. }) => Some(beat.may_leave),
            _ => None,
        };
        (actions.contains(&Action::Node(NodeEvent::LeaveWanted)), actions.iter().find_map(beat))
    };
    let mut worker = attached(1);
    assert_eq!(said(&worker.handle(Event::Beat(Sample::default()))), (false, Some(false)));
    worker.handle(Event::News(News::Began(JobId(1))));
    worker.handle(Event::DrainRequested);
    assert_eq!(said(&worker.handle(Event::Beat(Sample::default()))), (true, Some(false)));
    worker.handle(Event::News(News::Leave { may: true }));
    assert_eq!(said(&worker.handle(Event::Beat(Sample::default()))), (true, Some(true)));
    worker.handle(Event::News(News::Leave { may: false }));
    assert_eq!(worker.handle(Event::LinkClosed), [], "something of the job would be lost");
    assert_eq!(worker.handle(Event::News(News::Leave { may: true })), [Action::Exit(Exit::Shutdown)]);
}

#[test]
fn a_rejected_worker_leaves_with_the_reason() {
    let mut worker = worker();
    worker.handle(Event::LinkOpened);
    let rejected = FromCoordinator::Rejected(Rejected { reason: "version 1, not 2".to_owned() });
    assert_eq!(worker.handle(say(0, rejected)), [Action::Exit(Exit::Rejected("version 1, not 2".to_owned()))]);
}

/// One step of a random history over few attempts, so that they meet.
#[derive(Debug, Clone)]
enum Step {
    Reconnect { term: u64 },
    Launch(TaskAttempt),
    Cancel(TaskAttempt),
    End(TaskAttempt, bool),
    DropStage(TaskAttempt),
    DropJob(u64),
    AckOldest,
    Beat,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = || (1..3u64, 1..3u32, 0..3u32).prop_map(|(job, stage, task)| attempt(job, stage, task));
    let step = prop_oneof![
        (1..4u64).prop_map(|term| Step::Reconnect { term }),
        of().prop_map(Step::Launch),
        of().prop_map(Step::Cancel),
        (of(), any::<bool>()).prop_map(|(of, well)| Step::End(of, well)),
        of().prop_map(Step::DropStage),
        (1..3u64).prop_map(Step::DropJob),
        Just(Step::AckOldest),
        Just(Step::Beat),
    ];
    proptest::collection::vec(step, 0..80)
}

/// What an honest runner and coordinator know while a history runs.
#[derive(Default)]
struct Witness {
    epoch: u64,
    busy: BTreeSet<AttemptId>,
    started: BTreeSet<AttemptId>,
    reported: Vec<TaskReport>,
    acknowledged: BTreeSet<u64>,
}

impl Witness {
    fn event(&mut self, step: Step) -> Option<Event> {
        let event = match step {
            Step::Reconnect { .. } => unreachable!("takes three events"),
            Step::Launch(of) => say(self.epoch, launch(of)),
            Step::Cancel(of) => say(self.epoch, FromCoordinator::Cancel(CancelTask { attempt: Some(of) })),
            Step::End(of, well) => {
                if !self.busy.remove(&of.into()) {
                    return None;
                }
                if well { finished(of) } else { failed(of) }
            }
            Step::DropStage(of) => say(self.epoch, drop_output(of.job, Some(of.stage))),
            Step::DropJob(job) => say(self.epoch, drop_output(job, None)),
            Step::AckOldest => {
                let oldest =
                    self.reported.iter().map(|report| report.sequence).find(|s| !self.acknowledged.contains(s))?;
                self.acknowledged.insert(oldest);
                say(self.epoch, ack(oldest))
            }
            Step::Beat => Event::Beat(Sample::default()),
        };
        Some(event)
    }

    fn see(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::Start(launch) => {
                    self.started.insert(launch.id);
                    assert!(self.busy.insert(launch.id), "{:?} runs twice at once", launch.id);
                }
                Action::Cancel(id) => assert!(self.busy.contains(id), "{id:?} is cancelled but does not run"),
                // A job that is accepted again starts from nothing.
                Action::DropJob(job) => self.started.retain(|id| id.task.job != *job),
                _ => {}
            }
        }
        for report in reports(actions) {
            assert!(!self.acknowledged.contains(&report.sequence), "acknowledged, yet repeated: {report:?}");
            match self.reported.iter().find(|known| known.sequence == report.sequence) {
                Some(known) => assert_eq!(*known, report, "a sequence is one report for good"),
                None => self.reported.push(report),
            }
        }
    }
}

proptest! {
    #[test]
    fn promises_hold_over_any_history(history in steps()) {
        let mut worker = attached(1);
        let mut witness = Witness { epoch: 1, ..Witness::default() };
        for step in history {
            if let Step::Reconnect { term } = step {
                worker.handle(Event::LinkClosed);
                let register = registration(&worker.handle(Event::LinkOpened));
                let running: BTreeSet<AttemptId> = register.running.into_iter().map(Into::into).collect();
                let held: BTreeSet<AttemptId> = register.held.iter().filter_map(|held| held.attempt).map(Into::into).collect();
                prop_assert!(running.is_subset(&witness.busy) && running.is_disjoint(&held));
                witness.epoch += 1;
                // Terms only grow, else the worker would leave.
                let term = term.max(register.term);
                witness.see(&worker.handle(say(witness.epoch, registered(term))));
            } else if let Some(event) = witness.event(step) {
                witness.see(&worker.handle(event));
            }
            prop_assert_eq!(worker.running(), witness.busy.len());
        }
    }
}
