//! Placement groups as their owner sees them: when they are there, and what becomes of what is in them.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::{BundleId, PlacementGroup, Strategy};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, PlacementGroupId};
use tandem_node::{Event, GroupNews};

use crate::bench::{Bench, DRIVER, JOB};

impl Bench {
    fn create_group(&mut self, timeout_ms: u64) -> PlacementGroupId {
        let group = PlacementGroupId(self.next_id(DRIVER).0);
        let (name, strategy, bundles) = ("train".to_owned(), Strategy::Pack, vec![Shape::one_cpu(); 2]);
        self.say(DRIVER, ToNode::CreateGroup(PlacementGroup { group, name, strategy, bundles, timeout_ms }));
        self.watch_group(group);
        group
    }

    fn watch_group(&mut self, group: PlacementGroupId) {
        self.say(DRIVER, ToNode::Watch { objects: vec![group.object()], fetch: true });
    }

    fn news(&mut self, group: PlacementGroupId, news: GroupNews) {
        self.feed(Event::GroupChanged { job: JOB, group, news });
    }

    fn submit_in(&mut self, group: PlacementGroupId) -> CallId {
        let call = self.next_id(DRIVER);
        let (function, options) = ("load".to_owned(), Some(Box::new(TaskOptions::default())));
        let task = TaskSpec { call, function, args: Vec::new(), returns: 1, parent: None, options };
        self.say(DRIVER, ToNode::SubmitIn { task, bundle: BundleId { group, index: 1 } });
        self.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
        call
    }

    fn grant_in(&mut self, group: PlacementGroupId, lease: u64) {
        self.grant(lease, Some(BundleId { group, index: 1 }));
    }

    fn is_there(&self, group: PlacementGroupId) -> bool {
        let there = |message: &ToExecutor| matches!(message, ToExecutor::Value { object, outcome: Ok(_) } if *object == group.object());
        self.heard().any(there)
    }
}

#[test]
fn a_group_is_there_when_the_coordinator_says_so() {
    let mut bench = Bench::new();
    let group = bench.create_group(0);
    bench.news(group, GroupNews::Waits("no room".to_owned()));
    assert!(!bench.is_there(group));
    bench.news(group, GroupNews::Reserved);
    assert!(bench.is_there(group));
}

#[test]
fn a_group_that_cannot_be_says_why_and_so_does_one_that_is_late() {
    let mut bench = Bench::new();
    let never = bench.create_group(0);
    bench.news(never, GroupNews::Failed("it needs 1 of `gpus`".to_owned()));
    let failure = bench.failure(CallId(never.0)).expect("it has failed");
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Unschedulable, "it needs 1 of `gpus`"));
    let late = bench.create_group(5);
    bench.news(late, GroupNews::Waits("waits for room".to_owned()));
    (0..6).for_each(|_| bench.feed(Event::Tick));
    let failure = bench.failure(CallId(late.0)).expect("it has failed");
    assert_eq!(failure.message, "it is not reserved in time: waits for room");
}

#[test]
fn tasks_in_a_bundle_run_on_its_leases_only() {
    let mut bench = Bench::new();
    let group = bench.create_group(0);
    bench.news(group, GroupNews::Reserved);
    let call = bench.submit_in(group);
    assert!(!bench.was_sent(call), "the leases of others are not for it");
    bench.grant_in(group, 77);
    assert!(bench.was_sent(call));
    bench.done(call);
    assert_eq!(bench.failure(call), None);
}

#[test]
fn what_is_in_a_group_ends_with_it() {
    for news in [None, Some(GroupNews::Gone)] {
        let mut bench = Bench::new();
        let group = bench.create_group(0);
        bench.news(group, GroupNews::Reserved);
        let (queued, other) = (bench.submit_in(group), bench.submit("other", Vec::new(), None));
        let actor = ActorId(bench.next_id(DRIVER).0);
        let (class, options) = ("shop::Stock".to_owned(), ActorOptions::default());
        let spec = ActorSpec { actor, class, args: Vec::new(), parent: None, options };
        bench.say(DRIVER, ToNode::SpawnIn { actor: spec, bundle: BundleId { group, index: 0 } });
        bench.say(DRIVER, ToNode::Watch { objects: vec![actor.creation().object(0)], fetch: true });
        match news {
            Some(news) => bench.news(group, news),
            None => bench.say(DRIVER, ToNode::RemoveGroup(group)),
        }
        for gone in [queued, actor.creation()] {
            let failure = bench.failure(gone).expect("it has failed");
            assert_eq!(failure.kind, FailureKind::Unschedulable, "{failure}");
            assert!(failure.message.contains("its placement group was removed"), "{failure}");
        }
        assert!(bench.was_sent(other));
    }
}
