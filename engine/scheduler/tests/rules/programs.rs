//! Programs: where drivers run, what their failures cost, and who is told when they are over.

use tandem_graph::StageRole;
use tandem_proto::{JobId, WorkerId};
use tandem_scheduler::{Action, Event, FailureKind, FailureReason, JobOutcome, JobPlan, PendingReason};

use super::bench::{A, B, Bench, JOB, launched, one_task, only, plan, stage};

pub(crate) fn program() -> JobPlan {
    JobPlan { executors: true, race_stragglers: false, ..plan(vec![stage(&[], 1, StageRole::Driver)]) }
}

/// A program whose driver runs at its client.
fn client_program() -> JobPlan {
    JobPlan { executors: true, race_stragglers: false, ..plan(vec![stage(&[], 1, StageRole::ClientDriver)]) }
}

/// Who was told that a job is gone.
pub(crate) fn told(actions: &[Action]) -> Vec<(WorkerId, JobId)> {
    let told = |action: &Action| match *action {
        Action::JobGone { worker, job, .. } => Some((worker, job)),
        _ => None,
    };
    actions.iter().filter_map(told).collect()
}

#[test]
fn a_driver_takes_no_slot() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let task = only(&bench.accept(JobId(2), one_task()));
    let driver = only(&bench.accept(JOB, program()));
    assert_eq!(bench.cluster.summary().slots_used, 1);
    let next = only(&bench.accept(JobId(3), program()));
    assert_eq!((task.0, driver.0, next.0), (A, A, A));
    bench.finish(driver);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn drivers_are_spread_over_workers() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.join(B, 4);
    let hosts: Vec<_> = (1..=4).map(|job| only(&bench.accept(JobId(job), program())).0).collect();
    assert_eq!(hosts, [B, A, B, A]);
}

#[test]
fn a_driver_waits_for_a_worker_and_says_so() {
    let mut bench = Bench::new();
    bench.accept(JOB, program());
    assert_eq!(bench.cluster.job(JOB).unwrap().pending_reason, Some(PendingReason::NoWorkers));
    assert_eq!(launched(&bench.join(A, 1)).len(), 1);
}

#[test]
fn a_driver_whose_process_is_lost_starts_again_after_what_it_left_is_gone() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    bench.join(B, 1);
    let first = only(&bench.accept(JOB, program()));
    let actions = bench.fail(first, FailureKind::Retry);
    assert_eq!(told(&actions), [(first.0, JOB)]);
    let again = only(&actions);
    assert_ne!(again.0, first.0, "another worker is tried first");
    let place = |wanted: fn(&Action) -> bool| actions.iter().position(wanted);
    let gone = place(|action| matches!(action, Action::JobGone { .. }));
    assert!(gone < place(|action| matches!(action, Action::Launch { .. })));
    assert_eq!(told(&bench.finish(again)), [(again.0, JOB)]);
}

#[test]
fn a_program_that_returns_an_error_has_failed() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    let actions = bench.fail(driver, FailureKind::Fatal);
    assert_eq!(bench.failure().0, FailureReason::Fatal);
    assert_eq!(told(&actions), [(A, JOB)]);
}

#[test]
fn a_driver_goes_on_elsewhere_when_its_worker_is_lost() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let (worker, epoch, _) = only(&bench.accept(JOB, program()));
    bench.join(B, 1);
    let actions = bench.lose(worker, epoch);
    let again = only(&actions);
    assert_eq!((again.0, told(&actions)), (B, Vec::new()));
    bench.finish(again);
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}

#[test]
fn a_driver_bears_the_loss_of_many_workers_but_not_of_all() {
    Bench::new().assert_poisonous_with(program(), 30);
}

#[test]
fn a_driver_at_a_client_takes_no_slot_and_goes_nowhere_else() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let (worker, epoch, _) = only(&bench.accept(JOB, client_program()));
    assert_eq!(bench.cluster.summary().slots_used, 0);
    let address = bench.cluster.job(JOB).unwrap().driver_address;
    assert_eq!(address, bench.cluster.nodes()[0].info.data_address);
    bench.join(B, 1);
    let actions = bench.lose(worker, epoch);
    assert!(launched(&actions).is_empty(), "{actions:?}");
    assert_eq!(bench.failure().0, FailureReason::Fatal);
    assert_eq!(bench.cluster.job(JOB).unwrap().driver_address, "");
}

#[test]
fn a_worker_that_comes_back_hears_that_its_executors_are_not_wanted() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    bench.feed(Event::WorkerDisconnected { worker: A, epoch: driver.1 });
    bench.feed(Event::StopRequested { job: JOB, reason: String::new() });
    let actions = bench.register(A, 1, vec![driver.2], Vec::new());
    assert_eq!(told(&actions), [(A, JOB)]);
}

#[test]
fn a_restarted_coordinator_finds_the_driver_where_it_runs() {
    let mut bench = Bench::new();
    bench.join(A, 1);
    let driver = only(&bench.accept(JOB, program()));
    let mut bench = bench.restarted(&[(JOB, program())]);
    let actions = bench.register(A, 1, vec![driver.2], Vec::new());
    assert!(launched(&actions).is_empty() && told(&actions).is_empty(), "{actions:?}");
    let epoch = bench.epoch_of(&actions);
    bench.finish((A, epoch, driver.2));
    assert_eq!(bench.outcome(), Some(JobOutcome::Succeeded));
}
