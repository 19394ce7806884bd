//! What no worker can run fails, and nothing else does.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec, Arg, TaskOptions};
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::{PlacementGroup, Strategy};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, PlacementGroupId};
use tandem_node::Event;

use crate::bench::{Bench, DRIVER, JOB};

/// What nobody has.
fn license() -> Shape {
    let mut shape = Shape::one_cpu();
    shape.milli.insert("license".to_owned(), 1_000);
    shape
}

fn refuse(bench: &mut Bench, shape: Shape) {
    bench.feed(Event::LeaseRefused { job: JOB, shape, bundle: None, reason: "it needs 1 of `license`".to_owned() });
}

/// The driver asks for the value of a call.
fn watch(bench: &mut Bench, call: CallId) {
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
}

#[test]
fn tasks_that_no_worker_can_run_fail_and_so_do_those_that_need_them() {
    let mut bench = Bench::new();
    let needs = TaskOptions { shape: license(), ..TaskOptions::default() };
    let calls = [0; 3].map(|_| bench.submit("solve", Vec::new(), Some(needs.clone())));
    let after = bench.submit("after", vec![Arg::Object(calls[0].object(0))], None);
    let other = bench.submit("other", Vec::new(), None);
    calls.iter().chain([&after, &other]).for_each(|call| watch(&mut bench, *call));
    refuse(&mut bench, license());
    for call in calls {
        let failure = bench.failure(call).expect("it has failed");
        assert_eq!((failure.kind, failure.task.as_str()), (FailureKind::Unschedulable, "solve"));
        assert_eq!(failure.message, "no worker can run it: it needs 1 of `license`");
    }
    assert_eq!(bench.failure(after).map(|failure| failure.kind), Some(FailureKind::Dependency));
    assert_eq!(bench.failure(other), None);
    // What is asked for later waits for an answer of its own.
    let later = bench.submit("solve", Vec::new(), Some(needs));
    watch(&mut bench, later);
    assert_eq!(bench.failure(later), None);
    refuse(&mut bench, license());
    assert!(bench.failure(later).is_some());
}

#[test]
fn actors_that_no_worker_can_run_are_gone_with_their_calls() {
    let mut bench = Bench::new();
    let actor = ActorId(bench.next_id(DRIVER).0);
    let options = ActorOptions { shape: license(), ..ActorOptions::default() };
    let spec = ActorSpec { actor, class: "shop::Stock".to_owned(), args: Vec::new(), parent: None, options };
    bench.say(DRIVER, ToNode::Spawn(spec));
    let call = bench.call(DRIVER, actor, "take");
    watch(&mut bench, call);
    refuse(&mut bench, Shape { spread: true, ..license() });
    let failure = bench.failure(call).expect("it has failed");
    assert!(failure.to_string().contains("no worker can run it: it needs 1 of `license`"), "{failure}");
}

#[test]
fn a_refusal_of_what_runs_is_too_late() {
    let mut bench = Bench::new();
    let calls = [0; 6].map(|_| bench.submit("solve", Vec::new(), None));
    calls.iter().for_each(|call| watch(&mut bench, *call));
    refuse(&mut bench, Shape::one_cpu());
    assert!(bench.told_none());
}

#[test]
fn more_than_one_gpu_is_whole_ones() {
    let mut bench = Bench::new();
    let mut shape = Shape::one_cpu();
    shape.milli.insert("gpus".to_owned(), 1_500);
    let task = bench.submit("train", Vec::new(), Some(TaskOptions { shape: shape.clone(), ..TaskOptions::default() }));
    let actor = ActorId(bench.next_id(DRIVER).0);
    let options = ActorOptions { shape: shape.clone(), ..ActorOptions::default() };
    let spec = ActorSpec { actor, class: "shop::Stock".to_owned(), args: Vec::new(), parent: None, options };
    bench.say(DRIVER, ToNode::Spawn(spec));
    let group = PlacementGroupId(bench.next_id(DRIVER).0);
    let (name, bundles) = (String::new(), vec![Shape::one_cpu(), shape]);
    let spec = PlacementGroup { group, name, strategy: Strategy::Pack, bundles, timeout_ms: 0 };
    bench.say(DRIVER, ToNode::CreateGroup(spec));
    for call in [task, actor.creation(), CallId(group.0)] {
        watch(&mut bench, call);
        let failure = bench.failure(call).expect("it has failed");
        assert_eq!(failure.kind, FailureKind::Unschedulable);
        assert!(failure.message.contains("1.5 GPUs cannot be had"), "{failure}");
    }
}
