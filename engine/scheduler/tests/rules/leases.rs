//! Leases: where they go, who gets how many, when they are taken back, and that no single message must arrive.

use std::collections::BTreeMap;

use tandem_graph::StageRole;
use tandem_proto::{Epoch, JobId, LeaseId, WorkerId};
use tandem_scheduler::{
    Action, CPUS, Event, LeaseDemand, LeaseGrant, LeaseReport, Registration, Resources, Shape, StagePlan, WorkerInfo,
    WorkerUsage,
};

use super::bench::{A, B, Bench, JOB, launched, only, plan, stage};
use super::programs::{program, told};

const C: WorkerId = WorkerId(3);
const OTHER: JobId = JobId(2);

pub(crate) fn shape(amounts: &[(&str, u64)]) -> Shape {
    let milli = amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
    Shape { resources: Resources { milli, memory_bytes: 0 }, labels: BTreeMap::new(), spread: false, here: false }
}

pub(crate) fn one_cpu() -> Shape {
    shape(&[(CPUS, 1_000)])
}

/// Leases in the order they were first told of.
pub(crate) fn granted(actions: &[Action]) -> Vec<LeaseGrant> {
    let mut grants: Vec<LeaseGrant> = Vec::new();
    for action in actions {
        if let Action::GrantLease { grant, .. } = action
            && !grants.contains(grant)
        {
            grants.push(grant.clone());
        }
    }
    grants
}

pub(crate) fn hosts(actions: &[Action]) -> Vec<WorkerId> {
    granted(actions).iter().map(|grant| grant.host).collect()
}

/// Which lease whom was told to give up.
pub(crate) fn revoked(actions: &[Action]) -> Vec<(WorkerId, LeaseId)> {
    let revoked = |action: &Action| match *action {
        Action::RevokeLease { worker, lease, .. } => Some((worker, lease)),
        _ => None,
    };
    actions.iter().filter_map(revoked).collect()
}

impl Bench {
    /// The epoch of a worker that has registered once, in the order of the ids.
    pub(crate) fn epoch(worker: WorkerId) -> Epoch {
        Epoch((1 << 32) + worker.0)
    }

    pub(crate) fn want(&mut self, owner: WorkerId, job: JobId, shape: Shape, wanted: u32) -> Vec<Action> {
        let demand = LeaseDemand { job, shape, bundle: None, wanted };
        self.feed(Event::LeaseDemand { worker: owner, epoch: Self::epoch(owner), demand })
    }

    pub(crate) fn give_back(&mut self, grant: &LeaseGrant) -> Vec<Action> {
        self.feed(Event::LeaseReturned { worker: grant.host, epoch: Self::epoch(grant.host), lease: grant.lease })
    }

    fn release(&mut self, grant: &LeaseGrant) -> Vec<Action> {
        self.feed(Event::LeaseReleased { worker: grant.owner, epoch: Self::epoch(grant.owner), lease: grant.lease })
    }

    pub(crate) fn join_with(&mut self, worker: WorkerId, slots: u32, extra: &[(&str, u64)], labels: &[(&str, &str)]) {
        let text = |text: &str| text.to_owned();
        let info = WorkerInfo {
            name: format!("worker-{}", worker.0),
            slots,
            resources: shape(extra).resources,
            labels: labels.iter().map(|(key, value)| (text(key), text(value))).collect(),
            ..WorkerInfo::default()
        };
        self.feed(Event::WorkerRegistered(Box::new(Registration { worker, info, ..registration(worker) })));
    }

    pub(crate) fn beat_with(&mut self, worker: WorkerId, leases: LeaseReport) -> Vec<Action> {
        let (epoch, usage) = (Self::epoch(worker), WorkerUsage::default());
        self.feed(Event::Heartbeat { worker, epoch, usage, progress: Vec::new(), leases })
    }
}

pub(crate) fn registration(worker: WorkerId) -> Registration {
    let info = WorkerInfo { slots: 2, ..WorkerInfo::default() };
    Registration::new(worker, info)
}

/// A program whose driver runs on A, and so many slots on A and B.
fn bench(slots: [u32; 2]) -> Bench {
    let mut bench = Bench::new();
    bench.join(A, slots[0]);
    assert_eq!(only(&bench.accept(JOB, program())).0, A);
    bench.join(B, slots[1]);
    bench
}

fn many_tasks() -> Vec<StagePlan> {
    vec![stage(&[], 100, StageRole::Exchange)]
}

#[test]
fn leases_go_to_their_owner_first_and_then_where_most_is_free() {
    let mut bench = bench([2, 2]);
    bench.join(C, 4);
    let actions = bench.want(A, JOB, one_cpu(), 6);
    assert_eq!(hosts(&actions), [A, A, C, C, B, C]);
    let told = |worker| {
        let told = |action: &&Action| matches!(action, Action::GrantLease { worker: told, .. } if *told == worker);
        actions.iter().filter(told).count()
    };
    assert_eq!((told(A), told(B), told(C)), (6, 1, 3), "the owner hears of all, a host of its own");
    assert_eq!(bench.cluster.summary().slots_used, 6);
    assert!(
        granted(&bench.want(A, JOB, one_cpu(), 8)).len() == 2 && granted(&bench.want(A, JOB, one_cpu(), 9)).is_empty()
    );
}

#[test]
fn what_takes_nothing_always_fits() {
    let mut bench = bench([1, 1]);
    assert_eq!(granted(&bench.want(A, JOB, one_cpu(), 9)).len(), 2);
    assert_eq!(hosts(&bench.want(A, JOB, shape(&[]), 3)), [A, A, A]);
}

#[test]
fn leases_that_are_spread_go_where_the_fewest_are() {
    let spread = |amounts| Shape { spread: true, ..shape(amounts) };
    let mut bench = bench([1, 1]);
    assert_eq!(hosts(&bench.want(A, JOB, spread(&[]), 4)), [A, B, A, B]);
    assert_eq!(hosts(&bench.want(A, JOB, spread(&[(CPUS, 100)]), 2)), [A, B]);
    assert_eq!(hosts(&bench.want(A, JOB, shape(&[(CPUS, 200)]), 2)), [A, A]);
    assert_eq!(hosts(&bench.want(A, JOB, spread(&[(CPUS, 300)]), 3)), [B, B, A]);
}

#[test]
fn what_has_begun_at_its_owner_goes_on_there_or_nowhere() {
    let mut bench = bench([1, 4]);
    let lease = granted(&bench.want(A, JOB, one_cpu(), 1)).remove(0);
    let here = || Shape { here: true, ..one_cpu() };
    assert!(hosts(&bench.want(A, JOB, here(), 1)).is_empty(), "there is room elsewhere only");
    let goes_on = granted(&bench.give_back(&lease)).into_iter().find(|grant| grant.shape.here);
    assert_eq!(goes_on.map(|grant| grant.host), Some(A));
    bench.feed(Event::DrainRequested { worker: B });
    assert_eq!(hosts(&bench.want(B, JOB, here(), 1)), [B], "it has begun before");
    assert!(hosts(&bench.want(B, JOB, one_cpu(), 1)).is_empty());
}

#[test]
fn parts_of_a_processor_and_several_of_them_share_a_worker() {
    let mut bench = bench([2, 1]);
    assert_eq!(hosts(&bench.want(A, JOB, shape(&[(CPUS, 2_000)]), 2)), [A]);
    assert_eq!(hosts(&bench.want(A, JOB, shape(&[(CPUS, 500)]), 9)), [B, B]);
}

#[test]
fn a_lease_is_free_when_its_host_says_so_and_not_before() {
    let mut bench = bench([1, 0]);
    let lease = granted(&bench.want(A, JOB, one_cpu(), 1)).remove(0);
    bench.accept(OTHER, plan(many_tasks()));
    bench.want(A, JOB, one_cpu(), 0);
    assert_eq!(revoked(&bench.release(&lease)), [(A, lease.lease)]);
    assert_eq!(bench.cluster.summary().slots_used, 1);
    assert_eq!(launched(&bench.give_back(&lease)).len(), 1, "the slot goes to who waits");
}

#[test]
fn other_resources_and_labels_decide_where_a_lease_may_go() {
    let mut bench = bench([4, 4]);
    bench.join_with(C, 1, &[("gpus", 2_000)], &[("zone", "a")]);
    assert_eq!(hosts(&bench.want(A, JOB, shape(&[("gpus", 1_000), (CPUS, 500)]), 9)), [C, C]);
    let labelled = Shape { labels: [("zone".to_owned(), "a".to_owned())].into(), ..shape(&[]) };
    assert_eq!(hosts(&bench.want(A, JOB, labelled, 2)), [C, C]);
}

#[test]
fn memory_is_given_once() {
    let mut bench = bench([1, 0]);
    let info = WorkerInfo { slots: 9, memory_bytes: 1_000, ..WorkerInfo::default() };
    bench.feed(Event::WorkerRegistered(Box::new(Registration { info, ..registration(C) })));
    let mut wanted = one_cpu();
    wanted.resources.memory_bytes = 400;
    assert_eq!(hosts(&bench.want(A, JOB, wanted, 9)), [C, C]);
}

#[test]
fn slots_are_divided_evenly_between_stage_tasks_and_leases() {
    let mut bench = Bench::new();
    bench.accept(JOB, program());
    bench.accept(OTHER, plan(many_tasks()));
    bench.join(A, 1);
    bench.want(A, JOB, one_cpu(), 50);
    let actions = bench.join(B, 7);
    assert_eq!((granted(&actions).len(), launched(&actions).len()), (4, 3), "the other job has a slot of A");
}

#[test]
fn who_has_more_than_its_share_gives_leases_back_when_another_waits() {
    let mut bench = bench([4, 4]);
    assert_eq!(granted(&bench.want(A, JOB, one_cpu(), 50)).len(), 8);
    assert!(revoked(&bench.pass(1_000)).is_empty(), "nobody else wants anything");
    let first = bench.accept(OTHER, plan(many_tasks()));
    assert!(launched(&first).is_empty());
    let back: std::collections::BTreeSet<_> = revoked(&bench.pass(300)).into_iter().map(|(_, lease)| lease).collect();
    assert_eq!(back.len(), 4, "half of all");
    assert!(revoked(&bench.pass(1_000)).is_empty(), "no more while these come back");
}

#[test]
fn two_programs_share_what_is_scarce() {
    let mut bench = Bench::new();
    bench.join_with(A, 1, &[("gpus", 4_000)], &[]);
    bench.accept(JOB, program());
    bench.accept(OTHER, program());
    let gpu = || shape(&[("gpus", 1_000)]);
    assert_eq!(granted(&bench.want(A, JOB, gpu(), 9)).len(), 4);
    assert!(granted(&bench.want(A, OTHER, gpu(), 1)).is_empty());
    let back = revoked(&bench.pass(300));
    assert_eq!(back.len(), 1, "{back:?}");
    let actions = bench.feed(Event::LeaseReturned { worker: A, epoch: Bench::epoch(A), lease: back[0].1 });
    assert_eq!(granted(&actions).iter().map(|grant| grant.job).collect::<Vec<_>>(), [OTHER]);
}

#[test]
fn what_nobody_can_ever_give_is_refused_with_the_reason() {
    let mut bench = bench([2, 2]);
    bench.want(A, JOB, shape(&[("gpus", 1_000)]), 1);
    let labelled = Shape { labels: [("zone".to_owned(), "a".to_owned())].into(), ..one_cpu() };
    bench.want(A, JOB, labelled, 1);
    bench.want(A, JOB, shape(&[(CPUS, 3_000)]), 1);
    let reasons = |actions: &[Action]| -> Vec<String> {
        let reason = |action: &Action| match action {
            Action::RefuseLease { worker: A, job: JOB, reason, .. } => Some(reason.clone()),
            _ => None,
        };
        actions.iter().filter_map(reason).collect()
    };
    assert!(reasons(&bench.pass(59_000)).is_empty(), "a worker may join");
    let told = reasons(&bench.pass(2_000));
    assert_eq!(
        told,
        [
            "it needs a worker with the label zone=a; values that workers have: none",
            "it needs 3 of `cpus`, and no worker has more than 2",
            "it needs 1 of `gpus`, and no worker has more than 0",
        ]
    );
    assert!(reasons(&bench.pass(2_000)).is_empty(), "once");
    bench.join_with(C, 1, &[("gpus", 1_000)], &[]);
    assert_eq!(bench.cluster.summary().leases, 1, "and yet it is given when it can be");
}

#[test]
fn a_lost_host_is_told_to_the_owner() {
    lose_one_of_two(false);
}

#[test]
fn a_lost_owner_is_told_to_the_hosts() {
    lose_one_of_two(true);
}

fn lose_one_of_two(owner_is_lost: bool) {
    let mut bench = bench([1, 1]);
    let leases = granted(&bench.want(A, JOB, one_cpu(), 2));
    let on_b = leases.iter().find(|lease| lease.host == B).unwrap().lease;
    let gone = |actions: &[Action]| -> Vec<(WorkerId, WorkerId)> {
        let gone = |action: &Action| match *action {
            Action::WorkerGone { worker, gone, .. } => Some((worker, gone)),
            _ => None,
        };
        actions.iter().filter_map(gone).collect()
    };
    let actions = if owner_is_lost { bench.lose(A, Bench::epoch(A)) } else { bench.lose(B, Bench::epoch(B)) };
    if owner_is_lost {
        assert!(revoked(&actions).contains(&(B, on_b)) && gone(&actions) == [(B, A)], "{actions:?}");
        assert_eq!(told(&actions), [(B, JOB)], "the driver was on A");
        assert_eq!(bench.cluster.summary().slots_used, 1, "B has not said that nothing runs on it");
    } else {
        assert!(revoked(&actions).contains(&(A, on_b)) && gone(&actions) == [(A, B)], "{actions:?}");
        assert_eq!(bench.cluster.summary().slots_used, 1);
    }
}

#[test]
fn a_grant_that_got_lost_is_told_again_and_a_revoked_lease_that_nobody_knows_is_free() {
    let mut bench = bench([1, 1]);
    let leases = granted(&bench.want(A, JOB, one_cpu(), 2));
    let on_b = leases.iter().find(|lease| lease.host == B).unwrap().clone();
    let demand = vec![LeaseDemand { job: JOB, shape: one_cpu(), bundle: None, wanted: 2 }];
    let knows = |leases: &[LeaseId]| LeaseReport { hosted: leases.to_vec(), ..LeaseReport::default() };
    bench.now += 1_000;
    assert!(granted(&bench.beat_with(B, knows(&[]))).is_empty(), "it may be on its way");
    bench.now += 1_000;
    let all: Vec<_> = leases.iter().map(|lease| lease.lease).collect();
    let (hosted, owned, jobs) = (vec![all[0]], all.clone(), vec![JOB]);
    let owner = LeaseReport { hosted, owned, demand, jobs, ..LeaseReport::default() };
    bench.beat_with(A, owner);
    assert_eq!(granted(&bench.beat_with(B, knows(&[]))), std::slice::from_ref(&on_b));
    assert!(granted(&bench.beat_with(B, knows(&[on_b.lease]))).is_empty());
    bench.want(A, JOB, one_cpu(), 1);
    bench.release(&on_b);
    let stranger = LeaseId(77);
    assert_eq!(revoked(&bench.beat_with(B, knows(&[on_b.lease, stranger]))), [(B, stranger)]);
    bench.now += 2_000;
    bench.beat_with(B, knows(&[]));
    assert_eq!(bench.cluster.summary().slots_used, 1);
}

#[test]
fn a_restarted_coordinator_takes_leases_over_from_hosts_and_owners() {
    let mut bench = bench([1, 1]);
    let driver = bench.cluster.tasks(JOB).unwrap()[0].attempt;
    let leases = granted(&bench.want(A, JOB, one_cpu(), 2));
    let mut bench = bench.restarted(&[(JOB, program())]);
    let back = |worker, leases: Vec<LeaseGrant>| Registration {
        jobs: vec![JOB],
        info: WorkerInfo { slots: 1, ..WorkerInfo::default() },
        leases,
        ..registration(worker)
    };
    let owner = Registration { running: vec![driver], ..back(A, leases.clone()) };
    let actions = bench.feed(Event::WorkerRegistered(Box::new(owner)));
    assert!(revoked(&actions).is_empty() && told(&actions).is_empty(), "{actions:?}");
    let hosted = leases.iter().filter(|lease| lease.host == B).cloned().collect();
    let actions = bench.feed(Event::WorkerRegistered(Box::new(back(B, hosted))));
    assert!(revoked(&actions).is_empty() && granted(&actions).is_empty(), "{actions:?}");
    assert_eq!((bench.cluster.summary().leases, bench.cluster.summary().slots_used), (2, 2));
}

#[test]
fn leases_of_a_job_that_is_over_keep_their_place_until_they_are_returned() {
    let mut bench = bench([1, 1]);
    let leases = granted(&bench.want(A, JOB, one_cpu(), 2));
    let actions = bench.feed(Event::StopRequested { job: JOB, reason: String::new() });
    assert_eq!(told(&actions), [(A, JOB), (B, JOB)]);
    assert_eq!(bench.cluster.summary().slots_used, 2);
    for lease in &leases {
        bench.give_back(lease);
    }
    assert_eq!(bench.cluster.summary().leases, 0);
}

#[test]
fn a_draining_host_gets_its_leases_back_and_then_leaves() {
    let mut bench = bench([0, 1]);
    let lease = granted(&bench.want(A, JOB, one_cpu(), 1)).remove(0);
    let actions = bench.feed(Event::DrainRequested { worker: B });
    assert_eq!(revoked(&actions), [(B, lease.lease), (A, lease.lease)]);
    let left = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Shutdown { worker: B, .. }));
    assert!(!left(&actions));
    assert!(!left(&bench.give_back(&lease)), "objects of the job may be there");
    let report = |may_leave| LeaseReport { jobs: vec![JOB], may_leave, ..LeaseReport::default() };
    assert!(!left(&bench.beat_with(B, report(false))));
    assert!(left(&bench.beat_with(B, report(true))));
}
