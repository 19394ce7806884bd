//! Placement groups: all or nothing, where their bundles go, what is leased in them, and what becomes of them when workers or the
//! coordinator are lost.

use tandem_proto::WorkerId;
use tandem_scheduler::{
    Action, BundleId, CPUS, Event, Fact, GroupNews, GroupPlan, GroupReason, GroupReport, GroupStateView, GroupView,
    LeaseDemand, LeaseGrant, PlacementGroupId, Registration, Shape, Strategy, WorkerInfo,
};

use super::bench::{A, B, Bench, JOB};
use super::leases::{granted, hosts, one_cpu, registration, revoked, shape};
use super::programs::program;

const C: WorkerId = WorkerId(3);

/// The `number`th group that A owns.
fn group(number: u64) -> PlacementGroupId {
    PlacementGroupId(u128::from(A.0) << 64 | u128::from(number))
}

fn plan(number: u64, strategy: Strategy, bundles: &[Shape]) -> GroupPlan {
    GroupPlan { group: group(number), job: JOB, name: "train".to_owned(), strategy, bundles: bundles.to_vec() }
}

fn cpus(count: u64) -> Shape {
    shape(&[(CPUS, count * 1_000)])
}

/// What A was told of groups.
fn told(actions: &[Action]) -> Vec<(PlacementGroupId, GroupNews)> {
    let told = |action: &Action| match action {
        Action::GroupChanged { worker: A, group, news, .. } => Some((*group, news.clone())),
        _ => None,
    };
    actions.iter().filter_map(told).collect()
}

/// A program whose driver runs on A, and so many slots on A, B and C.
fn bench(slots: [u32; 3]) -> Bench {
    let mut bench = Bench::new();
    bench.join(A, slots[0]);
    bench.accept(JOB, program());
    bench.join(B, slots[1]);
    bench.join(C, slots[2]);
    bench
}

impl Bench {
    fn reserve(&mut self, number: u64, strategy: Strategy, bundles: &[Shape]) -> Vec<Action> {
        let plan = plan(number, strategy, bundles);
        self.feed(Event::GroupWanted { worker: A, epoch: Self::epoch(A), plan })
    }

    fn remove(&mut self, number: u64) -> Vec<Action> {
        self.feed(Event::GroupRemoved { worker: A, epoch: Self::epoch(A), group: group(number) })
    }

    fn want_in(&mut self, owner: WorkerId, bundle: BundleId, shape: Shape, wanted: u32) -> Vec<Action> {
        let demand = LeaseDemand { job: JOB, shape, bundle: Some(bundle), wanted };
        self.feed(Event::LeaseDemand { worker: owner, epoch: Self::epoch(owner), demand })
    }

    fn group(&self, number: u64) -> GroupView {
        let all = self.cluster.groups(Some(JOB));
        all.into_iter().find(|view| view.plan.group == group(number)).expect("the group is there")
    }

    fn bundles(&self, number: u64) -> Vec<Option<WorkerId>> {
        self.group(number).bundles.iter().map(|bundle| bundle.host).collect()
    }

    fn used(&self, worker: WorkerId) -> u64 {
        let nodes = self.cluster.nodes();
        let node = nodes.iter().find(|node| node.worker == worker).expect("it is there");
        node.used.amount(CPUS)
    }
}

fn bundle(number: u64, index: u32) -> BundleId {
    BundleId { group: group(number), index }
}

#[test]
fn bundles_go_where_the_strategy_says() {
    let cases = [
        (Strategy::Pack, [Some(A); 2]),
        (Strategy::StrictPack, [Some(A); 2]),
        (Strategy::Spread, [Some(A), Some(B)]),
        (Strategy::StrictSpread, [Some(A), Some(B)]),
    ];
    for (strategy, expected) in cases {
        let mut bench = bench([2, 2, 1]);
        let actions = bench.reserve(1, strategy, &[cpus(1), cpus(1)]);
        assert_eq!(told(&actions), [(group(1), GroupNews::Reserved)], "{strategy:?}");
        assert_eq!(bench.bundles(1), expected, "{strategy:?}");
        assert_eq!(bench.cluster.summary().slots_used, 2);
    }
}

#[test]
fn a_group_gets_all_or_nothing_and_says_why_it_waits() {
    let mut bench = bench([1, 1, 0]);
    let lease = granted(&bench.want(B, JOB, one_cpu(), 1)).remove(0);
    assert_eq!(lease.host, B);
    let actions = bench.reserve(1, Strategy::StrictSpread, &[cpus(1), cpus(1)]);
    assert!(matches!(told(&actions)[..], [(_, GroupNews::Waits(_))]), "{actions:?}");
    let view = bench.group(1);
    assert_eq!((view.state, view.reason), (GroupStateView::Pending, Some(GroupReason::NoRoom)));
    assert_eq!((bench.bundles(1), bench.used(A)), (vec![None, None], 0));
    // A smaller one that comes later need not wait for it.
    assert_eq!(told(&bench.reserve(2, Strategy::Pack, &[cpus(1)])), [(group(2), GroupNews::Reserved)]);
    assert!(told(&bench.remove(2)).is_empty());
    bench.want(B, JOB, one_cpu(), 0);
    bench.feed(Event::LeaseReleased { worker: B, epoch: Bench::epoch(B), lease: lease.lease });
    let actions = bench.give_back(&lease);
    assert_eq!(told(&actions), [(group(1), GroupNews::Reserved)]);
    assert_eq!((bench.used(A), bench.used(B)), (1_000, 1_000));
}

#[test]
fn leases_in_a_bundle_are_parts_of_what_it_has() {
    let mut bench = bench([4, 4, 0]);
    bench.reserve(1, Strategy::StrictSpread, &[cpus(2), cpus(3)]);
    assert_eq!(bench.bundles(1), [Some(B), Some(A)], "the large one chooses first, and its owner is nearest");
    let actions = bench.want_in(A, bundle(1, 0), one_cpu(), 5);
    assert_eq!(hosts(&actions), [B, B], "two fit into two");
    let inside = |grant: &LeaseGrant| grant.bundle == Some(bundle(1, 0));
    assert!(granted(&actions).iter().all(inside));
    assert_eq!(bench.group(1).bundles[0].used.amount(CPUS), 2_000);
    assert_eq!((bench.used(A), bench.used(B)), (3_000, 2_000), "they take nothing beside it");
    // Others get what is left, and no more.
    assert_eq!(hosts(&bench.want(B, JOB, one_cpu(), 9)), [B, B, A]);
    let back = granted(&actions).remove(0);
    bench.want_in(A, bundle(1, 0), one_cpu(), 1);
    bench.feed(Event::LeaseReleased { worker: A, epoch: Bench::epoch(A), lease: back.lease });
    assert!(granted(&bench.give_back(&back)).is_empty(), "what is free in a bundle is nobody else's");
    assert_eq!(bench.used(B), 4_000);
}

#[test]
fn what_runs_in_a_removed_group_keeps_its_place_until_it_ends() {
    let mut bench = bench([2, 0, 0]);
    bench.reserve(1, Strategy::Pack, &[cpus(2)]);
    let lease = granted(&bench.want_in(A, bundle(1, 0), one_cpu(), 1)).remove(0);
    let actions = bench.remove(1);
    assert_eq!(told(&actions), [(group(1), GroupNews::Gone)]);
    assert_eq!(revoked(&actions), [(A, lease.lease)]);
    assert_eq!((bench.used(A), bench.cluster.groups(None).len()), (1_000, 0));
    bench.give_back(&lease);
    assert_eq!(bench.used(A), 0);
    // Who asks for something in it later hears the same.
    assert_eq!(told(&bench.want_in(A, bundle(1, 0), one_cpu(), 1)), [(group(1), GroupNews::Gone)]);
}

#[test]
fn a_group_that_can_never_be_is_given_up_after_the_grace() {
    let cases: [(Strategy, &[Shape], &str); 4] = [
        (Strategy::Pack, &[cpus(1), shape(&[("gpus", 1_000)])], "bundle 1: it needs 1 of `gpus`"),
        (Strategy::StrictPack, &[cpus(2), cpus(1)], "all its 2 bundles are to be on one worker"),
        (Strategy::StrictSpread, &[cpus(1), cpus(1), cpus(1)], "its 3 bundles are to be on as many workers"),
        (Strategy::Spread, &[cpus(2), cpus(2), cpus(1)], "its 3 bundles take cpus 5"),
    ];
    for (strategy, bundles, why) in cases {
        let mut bench = bench([2, 2, 0]);
        bench.reserve(1, strategy, bundles);
        let actions = bench.pass(2_000);
        assert!(
            matches!(told(&actions).last(), Some((_, GroupNews::Waits(said))) if said.contains(why)),
            "{actions:?}"
        );
        assert_eq!(bench.group(1).reason.map(|reason| reason.code().contains(why)), Some(true));
        let actions = bench.pass(60_000);
        assert!(
            matches!(told(&actions).last(), Some((_, GroupNews::Failed(said))) if said.contains(why)),
            "{actions:?}"
        );
        assert_eq!(bench.group(1).state, GroupStateView::Failed);
        assert!(told(&bench.pass(10_000)).is_empty(), "once is enough");
    }
}

#[test]
fn a_worker_that_joins_gives_hope_again() {
    let mut bench = bench([1, 0, 0]);
    bench.reserve(1, Strategy::StrictSpread, &[cpus(1), cpus(1)]);
    bench.pass(30_000);
    assert_eq!(told(&bench.join(WorkerId(4), 1)), [(group(1), GroupNews::Reserved)]);
}

#[test]
fn what_can_never_be_in_a_bundle_is_refused() {
    let mut bench = bench([2, 0, 0]);
    bench.reserve(1, Strategy::Pack, &[cpus(1)]);
    let cases = [
        (bundle(1, 0), cpus(2), "it needs cpus 2, and bundle 0 of its placement group has cpus 1"),
        (bundle(1, 7), cpus(1), "its placement group has 1 bundles, and no bundle 7"),
    ];
    for (bundle, shape, why) in cases {
        bench.want_in(A, bundle, shape.clone(), 1);
        let actions = bench.pass(62_000);
        let refused = actions.iter().find_map(|action| match action {
            Action::RefuseLease { worker: A, bundle: of, reason, .. } if *of == Some(bundle) => Some(reason.as_str()),
            _ => None,
        });
        assert_eq!(refused, Some(why));
        bench.want_in(A, bundle, shape, 0);
    }
}

#[test]
fn the_bundles_of_a_lost_worker_are_placed_anew_and_those_of_a_draining_one_too() {
    for drains in [false, true] {
        let mut bench = bench([1, 1, 0]);
        bench.reserve(1, Strategy::StrictSpread, &[cpus(1), cpus(1)]);
        let lease = granted(&bench.want_in(A, bundle(1, 1), one_cpu(), 1)).remove(0);
        assert_eq!(lease.host, B);
        if drains {
            assert_eq!(revoked(&bench.feed(Event::DrainRequested { worker: B })), [(B, lease.lease), (A, lease.lease)]);
        } else {
            bench.lose(B, Bench::epoch(B));
        }
        let view = bench.group(1);
        assert_eq!((view.state, view.reason), (GroupStateView::Broken, Some(GroupReason::WorkerLost)));
        assert_eq!(bench.bundles(1), [Some(A), None], "it stays spread: there is no room but on A");
        let actions = bench.join(WorkerId(4), 1);
        assert_eq!(bench.bundles(1), [Some(A), Some(WorkerId(4))]);
        assert_eq!(hosts(&actions), [WorkerId(4)], "what waits in it goes on there");
    }
}

#[test]
fn groups_end_with_their_job_and_with_their_owner() {
    let mut bench = bench([0, 2, 0]);
    bench.reserve(1, Strategy::Pack, &[cpus(2)]);
    bench.feed(Event::StopRequested { job: JOB, reason: String::new() });
    assert_eq!((bench.used(B), bench.cluster.groups(None).len()), (0, 0));
    let mut bench = self::bench([0, 2, 0]);
    bench.reserve(1, Strategy::Pack, &[cpus(2)]);
    bench.lose(A, Bench::epoch(A));
    assert_eq!((bench.used(B), bench.cluster.groups(None).len()), (0, 0));
}

#[test]
fn a_group_that_its_owner_does_not_mention_is_removed_and_one_that_it_does_is_made() {
    let mut bench = bench([2, 0, 0]);
    bench.reserve(1, Strategy::Pack, &[cpus(1)]);
    let report = |number| GroupReport { plan: plan(number, Strategy::Pack, &[cpus(1)]), settled: false };
    let beat = |bench: &mut Bench, groups: Vec<GroupReport>| {
        bench.now += 1_000;
        bench.beat_with(A, tandem_scheduler::LeaseReport { groups, jobs: vec![JOB], ..Default::default() })
    };
    assert_eq!(told(&beat(&mut bench, vec![report(2)])), [(group(2), GroupNews::Reserved)]);
    assert_eq!(bench.cluster.groups(None).len(), 2, "the other may have been sent later");
    let actions = beat(&mut bench, vec![report(2)]);
    assert_eq!(bench.cluster.groups(None).len(), 1);
    assert!(told(&actions).is_empty(), "the news may be on their way");
    assert_eq!(told(&beat(&mut bench, vec![report(2)])), [(group(2), GroupNews::Reserved)], "they were lost");
}

#[test]
fn a_restarted_coordinator_leaves_groups_and_what_runs_in_them_where_they_are() {
    let mut bench = bench([1, 2, 0]);
    let driver = bench.cluster.tasks(JOB).unwrap()[0].attempt;
    bench.reserve(1, Strategy::StrictPack, &[cpus(1), cpus(1)]);
    assert_eq!(bench.bundles(1), [Some(B), Some(B)]);
    let lease = granted(&bench.want_in(A, bundle(1, 1), one_cpu(), 1)).remove(0);
    bench.reserve(2, Strategy::Pack, &[cpus(1)]);
    bench.remove(2);
    assert!(bench.facts.contains(&Fact::GroupRemoved { group: group(2) }));
    let mut bench = bench.restarted(&[(JOB, program())]);
    assert_eq!(bench.cluster.groups(None).len(), 1);
    let back = |worker, slots| Registration {
        jobs: vec![JOB],
        info: WorkerInfo { slots, ..WorkerInfo::default() },
        leases: vec![lease.clone()],
        ..registration(worker)
    };
    // The host comes first: what it has stays reserved.
    let actions = bench.feed(Event::WorkerRegistered(Box::new(back(B, 2))));
    assert!(revoked(&actions).is_empty(), "{actions:?}");
    assert_eq!((bench.used(B), bench.bundles(1)), (2_000, vec![Some(B), Some(B)]));
    let groups = vec![GroupReport { plan: plan(1, Strategy::StrictPack, &[cpus(1), cpus(1)]), settled: true }];
    let owner = Registration { running: vec![driver], groups, ..back(A, 1) };
    let actions = bench.feed(Event::WorkerRegistered(Box::new(owner)));
    assert!(revoked(&actions).is_empty() && granted(&actions).is_empty(), "{actions:?}");
    assert_eq!(told(&actions), [(group(1), GroupNews::Reserved)]);
    assert_eq!(bench.group(1).bundles[1].used.amount(CPUS), 1_000);
}
