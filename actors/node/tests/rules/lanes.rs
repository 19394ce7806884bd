//! Concurrency groups of actors: whose calls wait behind whose.

use tandem_actor_protocol::call::{ActorCall, Arg, CallOptions, ConcurrencyGroup};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ProcessNumber};
use tandem_node::Action;

use crate::bench::{Bench, DRIVER, THERE};

fn group(name: &str) -> Option<ConcurrencyGroup> {
    Some(ConcurrencyGroup { name: name.to_owned(), concurrency: 1 })
}

fn grouped(name: &str) -> CallOptions {
    CallOptions { group: group(name), stream: false }
}

#[test]
fn a_call_that_waits_for_an_argument_holds_back_those_of_its_group_only() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let slow = bench.submit("slow", Vec::new(), None);
    let late = || vec![Arg::Object(slow.object(0))];
    let (first, second) = (bench.call_with(DRIVER, actor, late(), grouped("io")), bench.call(DRIVER, actor, "count"));
    let behind = bench.call_with(DRIVER, actor, Vec::new(), grouped("io"));
    let beside = bench.call_with(DRIVER, actor, Vec::new(), grouped("compute"));
    let sent = |bench: &Bench| [first, second, behind, beside].map(|call| bench.was_sent(call));
    assert_eq!(sent(&bench), [false, true, false, true]);
    bench.done(slow);
    assert_eq!(sent(&bench), [true; 4]);
    let order = bench.heard().filter_map(|message| match message {
        ToExecutor::Call(run) => Some(run.call),
        _ => None,
    });
    assert_eq!(order.collect::<Vec<_>>(), [second, beside, first, behind]);
}

/// A process of the other worker calls an actor here; its one argument, if it has one, is at that worker.
fn call_from_there(bench: &mut Bench, actor: ActorId, number: u64, has_argument: bool, name: &str) -> CallId {
    let call = CallId(ProcessNumber(5).object(THERE, number).0);
    let object = ProcessNumber(5).object(THERE, number + 1_000);
    let held = RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() };
    let (args, resolved) = match has_argument {
        true => (vec![Arg::Object(object)], vec![(object, held)]),
        false => (vec![Arg::Value(Value::inline(Format::Bytes, &b"1"[..]))], Vec::new()),
    };
    let message = ActorCall { call, actor, method: "m".to_owned(), args, returns: 1, parent: None };
    bench
        .hear(THERE, PeerBody::Call { call: message, attempt: 0, resolved, start: 0, group: group(name), items: None });
    call
}

#[test]
fn a_call_whose_argument_is_on_its_way_holds_back_those_of_its_group_only() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let first = call_from_there(&mut bench, actor, 1, true, "io");
    assert!(bench.acted.iter().any(|action| matches!(action, Action::Fetch { .. } | Action::MakeExtent { .. })));
    let behind = call_from_there(&mut bench, actor, 2, false, "io");
    let beside = call_from_there(&mut bench, actor, 3, false, "compute");
    assert_eq!([first, behind, beside].map(|call| bench.was_sent(call)), [false, false, true]);
}

#[test]
fn the_worker_of_an_actor_is_told_the_group() {
    let mut bench = Bench::new();
    let [here, outside] = [1, 2].map(|number| ActorId(ProcessNumber(9).object(THERE, number).0));
    for (actor, of_other_job) in [(here, None), (outside, Some(outside))] {
        bench.call_with(DRIVER, actor, Vec::new(), grouped("io"));
        let (place, retry_calls) = (Ok(Some(THERE)), false);
        bench.hear(THERE, PeerBody::ActorAt { actor, place, retry_calls, outside: of_other_job, start: 0 });
    }
    let groups = bench.said().filter_map(|body| match body {
        PeerBody::Call { call, group, items: None, .. } => Some((call.actor, group.clone())),
        PeerBody::CallOutside(call) => Some((call.actor, call.group.clone())),
        _ => None,
    });
    assert_eq!(groups.collect::<Vec<_>>(), [(here, group("io")), (outside, group("io"))]);
}

#[test]
fn calls_wait_for_those_of_their_group_that_are_where_the_actor_was_before() {
    let mut bench = Bench::new();
    let actor = ActorId(ProcessNumber(9).object(THERE, 1).0);
    let at = |start| {
        let (place, retry_calls) = (Ok(Some(THERE)), true);
        PeerBody::ActorAt { actor, place, retry_calls, outside: None, start }
    };
    let call = |bench: &mut Bench, name: Option<&str>| match name {
        Some(name) => bench.call_with(DRIVER, actor, Vec::new(), grouped(name)),
        None => bench.call(DRIVER, actor, "m"),
    };
    let before = [Some("io"), None].map(|name| call(&mut bench, name));
    bench.hear(THERE, at(0));
    bench.hear(THERE, at(1));
    let after = [Some("io"), None, Some("compute")].map(|name| call(&mut bench, name));
    assert_eq!(sent_to(&bench), [(before[1], 0), (before[0], 0), (after[2], 1)]);
    let done = Ok(vec![RemoteValue::Inline { format: Format::Bytes, bytes: vec![1].into(), refs: Vec::new() }]);
    bench.hear(THERE, PeerBody::Done { call: before[1], attempt: 0, outcome: done });
    assert_eq!(sent_to(&bench)[3..], [(after[1], 1)]);
    // One that is cancelled and comes back is not made again, and nothing waits for it any more.
    bench.say(DRIVER, ToNode::Watch { objects: vec![before[0].object(0)], fetch: true });
    bench.say(DRIVER, ToNode::Cancel { call: before[0], force: false });
    bench.hear(THERE, PeerBody::GaveBack(vec![before[0]]));
    assert_eq!(bench.failure(before[0]).map(|failure| failure.kind), Some(FailureKind::Cancelled));
    assert_eq!(sent_to(&bench)[4..], [(after[0], 1)]);
}

/// The calls that the other worker was sent, each with the start of the actor that it is for.
fn sent_to(bench: &Bench) -> Vec<(CallId, u32)> {
    let sent = |body: &PeerBody| match body {
        PeerBody::Call { call, start, .. } => Some((call.call, *start)),
        _ => None,
    };
    bench.said().filter_map(sent).collect()
}
