//! Methods of actors that yield items: who is told what, and what becomes of a stream when its actor, its caller or an item is lost.

use tandem_actor_protocol::call::{ActorCall, ActorOptions, Arg, CallOptions};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId, ProcessNumber, WorkerId};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, JOB, THERE};
use crate::yielding::{finish, produce, some, told, want};

/// A third worker.
const ELSEWHERE: WorkerId = WorkerId(3);

/// An actor in a process of its own, which is started again.
fn spawn(bench: &mut Bench, retry_calls: bool) -> ActorId {
    let actor = ActorId(bench.next_id(DRIVER).0);
    bench.spawn_as(actor, "shop::Stock", lasting(retry_calls));
    bench.grant_of(70, lasting(retry_calls).leased().into_owned(), None);
    actor
}

fn lasting(retry_calls: bool) -> ActorOptions {
    ActorOptions { max_restarts: 10, retry_calls, ..ActorOptions::default() }
}

/// Calls a stream of which so many items are wanted.
fn call_from(bench: &mut Bench, consumer: ExecutorId, actor: ActorId, window: usize) -> (CallId, Vec<ObjectId>) {
    let call = bench.call_with(consumer, actor, Vec::new(), CallOptions { group: None, stream: true });
    bench.say(consumer, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    let items = want(bench, consumer, call, window);
    (call, items)
}

fn call(bench: &mut Bench, actor: ActorId, window: usize) -> (CallId, Vec<ObjectId>) {
    call_from(bench, DRIVER, actor, window)
}

/// What processes were sent of a call: where, which attempt, and how far it may go by now.
fn attempts(bench: &Bench, call: CallId) -> Vec<(ExecutorId, u32, u64)> {
    let mut attempts: Vec<(ExecutorId, u32, u64)> = Vec::new();
    for (executor, message) in bench.heard_by() {
        match message {
            ToExecutor::CallStream { run, until } if run.call == call => attempts.push((executor, run.attempt, *until)),
            ToExecutor::MayYield { call: of, until } if *of == call => {
                attempts.last_mut().expect("it was sent").2 = *until;
            }
            _ => {}
        }
    }
    attempts
}

#[test]
fn items_are_told_as_they_come_and_the_end_after_them() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let (call, mut items) = call(&mut bench, actor, 2);
    produce(&mut bench, call, 0);
    produce(&mut bench, call, 1);
    assert_eq!(told(&bench, call), some(&items));
    items.extend(want(&mut bench, DRIVER, call, 1));
    assert_eq!(attempts(&bench, call).pop().map(|(_, attempt, until)| (attempt, until)), Some((0, 3)));
    produce(&mut bench, call, 2);
    let more = want(&mut bench, DRIVER, call, 2);
    finish(&mut bench, call, Ok(3));
    let all: Vec<_> = some(&items).into_iter().chain([None]).collect();
    assert_eq!(told(&bench, call), all, "those that never come are not told of");
    bench.say(DRIVER, ToNode::Release(items.into_iter().chain(more).chain([call.object(0)]).collect()));
    let left: Vec<_> = bench.node.objects(None).map(|object| object.object).collect();
    assert_eq!(left, [actor.creation().object(0)]);
}

#[test]
fn who_yields_more_than_is_wanted_breaks_the_protocol() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let (call, _) = call(&mut bench, actor, 1);
    let (executor, ..) = attempts(&bench, call).remove(0);
    produce(&mut bench, call, 1);
    assert!(bench.acted.contains(&Action::StopExecutor { executor, at_once: true }));
    assert_eq!(told(&bench, call), []);
}

#[test]
fn a_stream_of_which_nothing_has_come_is_made_again_if_calls_are() {
    let mut bench = Bench::new();
    let actor = spawn(&mut bench, true);
    let (call, items) = call(&mut bench, actor, 2);
    let (first, ..) = attempts(&bench, call).remove(0);
    bench.dies(first);
    let (second, attempt, until) = attempts(&bench, call).remove(1);
    assert_eq!((second != first, attempt, until), (true, 1, 2));
    produce(&mut bench, call, 0);
    finish(&mut bench, call, Ok(1));
    assert_eq!(told(&bench, call), [Some(items[0]), None]);
    assert_eq!(bench.failure(call), None);
}

#[test]
fn a_stream_ends_with_the_actor_that_has_begun_to_yield_it() {
    for retry_calls in [true, false] {
        let mut bench = Bench::new();
        let actor = spawn(&mut bench, retry_calls);
        let (call, items) = call(&mut bench, actor, 3);
        produce(&mut bench, call, 0);
        produce(&mut bench, call, 1);
        let (first, ..) = attempts(&bench, call).remove(0);
        bench.dies(first);
        assert_eq!(told(&bench, call), [Some(items[0]), Some(items[1]), None]);
        let failure = bench.failure(call).expect("it cannot go on");
        assert_eq!((failure.kind, failure.task.as_str()), (FailureKind::ActorGone, "m"), "{failure}");
        assert_eq!(failure.message.contains("its items end after 2"), retry_calls, "{failure}");
        assert!(failure.message.contains("signal 9"), "{failure}");
        assert_eq!(attempts(&bench, call).len(), 1, "it is not made again");
        // What has come can be read, and the actor lives.
        bench.say(DRIVER, ToNode::Watch { objects: items[..2].to_vec(), fetch: true });
        let read = |message: &ToExecutor| matches!(message, ToExecutor::Value { object, outcome: Ok(_) } if items.contains(object));
        assert_eq!(bench.heard().filter(|message| read(message)).count(), 2);
        let next = bench.call(DRIVER, actor, "count");
        assert!(bench.was_sent(next));
    }
}

#[test]
fn a_stream_ends_with_the_process_that_takes_its_items() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let task = bench.submit("crawl", Vec::new(), None);
    let consumer = bench.at(task);
    let (call, _) = call_from(&mut bench, consumer, actor, 2);
    assert_eq!(attempts(&bench, call).len(), 1);
    bench.dies(consumer);
    assert!(bench.heard().any(|message| *message == ToExecutor::Cancel(call)));
    finish(&mut bench, call, Err(Failure::new(FailureKind::Cancelled, "", "cancelled")));
    assert!(bench.node.tasks(None).all(|task| task.call != call));
}

#[test]
fn a_stream_that_has_not_begun_is_cancelled_at_once() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let pending = bench.submit("slow", Vec::new(), None);
    let stream = CallOptions { group: None, stream: true };
    let call = bench.call_with(DRIVER, actor, vec![Arg::Object(pending.object(0))], stream);
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    want(&mut bench, DRIVER, call, 2);
    let behind = bench.call(DRIVER, actor, "count");
    assert!(!bench.was_sent(behind));
    bench.say(DRIVER, ToNode::Cancel { call, force: false });
    assert_eq!(bench.failure(call).map(|failure| failure.kind), Some(FailureKind::Cancelled));
    assert_eq!((told(&bench, call), attempts(&bench, call)), (vec![None], vec![]));
    assert!(bench.was_sent(behind));
}

#[test]
fn a_stream_that_was_left_is_not_made_again() {
    let mut bench = Bench::new();
    let actor = spawn(&mut bench, true);
    let (call, items) = call(&mut bench, actor, 2);
    let (process, ..) = attempts(&bench, call).remove(0);
    bench.say(DRIVER, ToNode::Cancel { call, force: false });
    bench.say(DRIVER, ToNode::Release(items));
    bench.dies(process);
    assert_eq!(attempts(&bench, call).len(), 1, "nobody would make room for its items");
    assert_eq!(bench.failure(call).map(|failure| failure.kind), Some(FailureKind::Cancelled));
    let next = bench.call(DRIVER, actor, "count");
    assert!(bench.was_sent(next));
}

#[test]
fn a_stream_that_was_left_and_comes_back_is_not_sent_again() {
    let mut bench = Bench::new();
    let (_, call, items) = call_there(&mut bench, 2);
    bench.say(DRIVER, ToNode::Cancel { call, force: false });
    bench.say(DRIVER, ToNode::Release(items));
    bench.hear(THERE, PeerBody::GaveBack(vec![call]));
    assert_eq!(sent_there(&bench, call).len(), 1);
    assert_eq!(bench.failure(call).map(|failure| failure.kind), Some(FailureKind::Cancelled));
}

/// An actor of the other worker, and a call of it.
fn call_there(bench: &mut Bench, window: usize) -> (ActorId, CallId, Vec<ObjectId>) {
    let actor = ActorId(ProcessNumber(9).object(THERE, 1).0);
    let (call, items) = call(bench, actor, window);
    at(bench, actor, THERE);
    (actor, call, items)
}

/// The owner of an actor says where it is.
fn at(bench: &mut Bench, actor: ActorId, host: WorkerId) {
    bench.hear(THERE, PeerBody::ActorAt { actor, place: Ok(Some(host)), retry_calls: true, outside: None, start: 0 });
}

/// Where a call was sent: to whom, which attempt, and with which items.
fn sent_there(bench: &Bench, call: CallId) -> Vec<(WorkerId, u32, Vec<ObjectId>)> {
    let sent = |action: &Action| match action {
        Action::SendPeer { worker, message } => match &message.body {
            PeerBody::Call { call: of, attempt, items: Some(items), group: None, .. } if of.call == call => {
                Some((*worker, *attempt, items.clone()))
            }
            _ => None,
        },
        _ => None,
    };
    bench.acted.iter().filter_map(sent).collect()
}

fn held(worker: WorkerId) -> RemoteValue {
    RemoteValue::Held { format: Format::Bytes, worker, length: 1 << 20, refs: Vec::new() }
}

fn inline() -> RemoteValue {
    RemoteValue::Inline { format: Format::Bytes, bytes: vec![1].into(), refs: Vec::new() }
}

#[test]
fn another_worker_is_told_which_items_are_wanted_and_says_when_they_are_there() {
    let mut bench = Bench::new();
    let (_, call, mut items) = call_there(&mut bench, 2);
    assert_eq!(sent_there(&bench, call), [(THERE, 0, items.clone())]);
    let more = want(&mut bench, DRIVER, call, 1);
    assert!(bench.said().any(|body| *body == PeerBody::WantItems { call, items: more.clone() }));
    items.extend(more);
    for item in &items {
        bench.hear(THERE, PeerBody::Yielded { item: *item, outcome: Ok(held(THERE)) });
    }
    bench.hear(THERE, PeerBody::Done { call, attempt: 0, outcome: Ok(vec![inline()]) });
    let all: Vec<_> = some(&items).into_iter().chain([None]).collect();
    assert_eq!(told(&bench, call), all);
    // One that is lost with its worker is not yielded again.
    bench.say(DRIVER, ToNode::Watch { objects: vec![items[1]], fetch: true });
    bench.feed(Event::Fetched { job: JOB, object: items[1], outcome: Err("connection refused".to_owned()) });
    let failure = bench.failure(CallId(items[1].0)).expect("it cannot be had");
    assert_eq!(failure.kind, FailureKind::ObjectLost);
    assert_eq!(sent_there(&bench, call).len(), 1);
    bench.say(DRIVER, ToNode::Release(items.into_iter().chain([call.object(0)]).collect()));
    assert_eq!(bench.node.objects(None).count(), 0);
}

#[test]
fn no_item_of_a_call_that_was_made_again_comes_from_where_it_was_before() {
    let mut bench = Bench::new();
    let (actor, call, items) = call_there(&mut bench, 2);
    at(&mut bench, actor, ELSEWHERE);
    let outcome = Err(Failure::new(FailureKind::ProcessLost, "", "signal 9"));
    bench.hear(THERE, PeerBody::Done { call, attempt: 0, outcome });
    assert_eq!(sent_there(&bench, call), [(THERE, 0, items.clone()), (ELSEWHERE, 1, items.clone())]);
    bench.hear(THERE, PeerBody::Yielded { item: items[0], outcome: Ok(held(THERE)) });
    assert_eq!(told(&bench, call), []);
    assert!(bench.said().any(|body| *body == PeerBody::Drop(vec![items[0]])), "it is of no use");
    bench.hear(ELSEWHERE, PeerBody::Yielded { item: items[0], outcome: Ok(held(ELSEWHERE)) });
    assert_eq!(told(&bench, call), some(&items[..1]));
}

#[test]
fn a_stream_ends_with_the_worker_of_an_actor_that_has_begun_to_yield_it() {
    let mut bench = Bench::new();
    let actor = ActorId(bench.next_id(DRIVER).0);
    bench.spawn_as(actor, "shop::Stock", lasting(true));
    bench.grant_on(THERE, 70, lasting(true).leased().into_owned(), None);
    bench.hear(THERE, PeerBody::Done { call: actor.creation(), attempt: 0, outcome: Ok(vec![inline()]) });
    let (call, items) = call(&mut bench, actor, 2);
    bench.hear(THERE, PeerBody::Yielded { item: items[0], outcome: Ok(inline()) });
    bench.feed(Event::PeerLost { worker: THERE });
    let failure = bench.failure(call).expect("it cannot go on");
    assert_eq!(failure.kind, FailureKind::ActorGone);
    assert!(failure.message.contains("its items end after 1"), "{failure}");
    assert_eq!((sent_there(&bench, call).len(), told(&bench, call)), (1, vec![Some(items[0]), None]));
}

/// A stream of an actor that the other worker owns, and that lives on a third one. The first item is there, and the owner says that a
/// checkpoint covers the call, which has yielded two.
fn covered_stream(bench: &mut Bench) -> (CallId, Vec<ObjectId>) {
    let actor = ActorId(ProcessNumber(9).object(THERE, 1).0);
    let (call, items) = call(bench, actor, 3);
    at(bench, actor, ELSEWHERE);
    bench.hear(ELSEWHERE, PeerBody::Yielded { item: items[0], outcome: Ok(inline()) });
    bench.hear(THERE, PeerBody::Covered { call, yielded: 2, outcome: Ok(vec![inline()]) });
    assert_eq!(told(bench, call), some(&items[..1]), "one is on its way");
    (call, items)
}

#[test]
fn the_end_of_a_stream_that_is_held_waits_for_its_items() {
    let mut bench = Bench::new();
    let (call, items) = covered_stream(&mut bench);
    bench.hear(ELSEWHERE, PeerBody::Yielded { item: items[1], outcome: Ok(inline()) });
    assert_eq!(told(&bench, call), [Some(items[0]), Some(items[1]), None]);
    assert_eq!(bench.failure(call), None);
}

#[test]
fn the_end_of_a_stream_that_is_held_does_not_wait_for_items_that_nobody_wants() {
    let mut bench = Bench::new();
    let (call, items) = covered_stream(&mut bench);
    bench.say(DRIVER, ToNode::Release(vec![items[1]]));
    assert_eq!(told(&bench, call), [Some(items[0]), None]);
    bench.hear(ELSEWHERE, PeerBody::Yielded { item: items[1], outcome: Ok(held(ELSEWHERE)) });
    assert!(bench.said().any(|body| *body == PeerBody::Drop(vec![items[1]])), "it is of no use");
}

#[test]
fn the_end_of_a_stream_that_is_held_comes_when_its_items_are_lost() {
    let mut bench = Bench::new();
    let (call, items) = covered_stream(&mut bench);
    bench.feed(Event::PeerLost { worker: ELSEWHERE });
    assert_eq!(bench.failure(call), None, "it has ended well");
    assert_eq!((told(&bench, call), sent_there(&bench, call).len()), ([some(&items[..2]), vec![None]].concat(), 1));
    bench.say(DRIVER, ToNode::Watch { objects: vec![items[1]], fetch: true });
    let lost = bench.failure(CallId(items[1].0)).expect("it never came");
    assert_eq!(lost.kind, FailureKind::ObjectLost);
}

#[test]
fn a_stream_whose_checkpoint_is_not_kept_is_not_made_again() {
    let mut bench = Bench::new();
    let actor = ActorId(ProcessNumber(9).object(THERE, 1).0);
    let (call, _) = call(&mut bench, actor, 2);
    at(&mut bench, actor, ELSEWHERE);
    bench.hear(THERE, PeerBody::Uncovered { host: ELSEWHERE, calls: vec![call] });
    let failure = bench.failure(call).expect("its items may be on their way");
    assert_eq!(failure.kind, FailureKind::ActorGone);
    assert!(failure.message.contains("its items end after 0"), "{failure}");
    assert_eq!(sent_there(&bench, call).len(), 1);
}

/// A process of the other worker calls a stream of an actor that is here.
fn call_from_there(bench: &mut Bench, actor: ActorId, window: u128) -> (CallId, Vec<ObjectId>) {
    let call = CallId(ProcessNumber(5).object(THERE, 1).0);
    let items: Vec<_> = (1..=window).map(|number| ObjectId(call.0 + number)).collect();
    let message = ActorCall { call, actor, method: "m".to_owned(), args: Vec::new(), returns: 1, parent: None };
    let (attempt, resolved, group) = (0, Vec::new(), None);
    bench.hear(THERE, PeerBody::Call { call: message, attempt, resolved, start: 0, group, items: Some(items.clone()) });
    (call, items)
}

fn said_items(bench: &Bench) -> Vec<ObjectId> {
    let item = |body: &PeerBody| match body {
        PeerBody::Yielded { item, outcome: Ok(_) } => Some(*item),
        _ => None,
    };
    bench.said().filter_map(item).collect()
}

#[test]
fn items_go_to_the_worker_that_wants_them_before_the_end() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let (call, mut items) = call_from_there(&mut bench, actor, 1);
    assert_eq!(attempts(&bench, call).pop().map(|(.., until)| until), Some(1));
    produce(&mut bench, call, 0);
    let more = vec![ObjectId(call.0 + 50)];
    bench.hear(ELSEWHERE, PeerBody::WantItems { call, items: more.clone() });
    assert_eq!(attempts(&bench, call).pop().map(|(.., until)| until), Some(1), "that is not its caller");
    bench.hear(THERE, PeerBody::WantItems { call, items: more.clone() });
    assert_eq!(attempts(&bench, call).pop().map(|(.., until)| until), Some(2));
    produce(&mut bench, call, 1);
    items.extend(more);
    assert_eq!(said_items(&bench), items);
    finish(&mut bench, call, Ok(2));
    let done = |body: &&PeerBody| matches!(body, PeerBody::Done { call: of, .. } if *of == call);
    assert_eq!(bench.said().filter(done).count(), 1);
    assert!(bench.said().last().is_some_and(|body| done(&body)), "after its items");
}

#[test]
fn a_stream_whose_caller_is_lost_with_its_worker_is_cancelled() {
    let mut bench = Bench::new();
    let actor = bench.spawn("shop::Stock", 1);
    let (call, items) = call_from_there(&mut bench, actor, 2);
    produce(&mut bench, call, 0);
    bench.feed(Event::PeerLost { worker: THERE });
    assert!(bench.heard().any(|message| *message == ToExecutor::Cancel(call)));
    produce(&mut bench, call, 1);
    assert_eq!(said_items(&bench), items[..1], "nobody wants it");
    finish(&mut bench, call, Err(Failure::new(FailureKind::Cancelled, "", "cancelled")));
    let next = bench.call(DRIVER, actor, "count");
    assert!(bench.was_sent(next));
}

#[test]
fn an_actor_of_another_job_yields_nothing() {
    let mut bench = Bench::new();
    let actor = ActorId(ProcessNumber(9).object(THERE, 1).0);
    let (call, _) = call(&mut bench, actor, 2);
    bench.hear(
        THERE,
        PeerBody::ActorAt { actor, place: Ok(Some(THERE)), retry_calls: false, outside: Some(actor), start: 0 },
    );
    let failure = bench.failure(call).expect("it cannot be called");
    assert_eq!((failure.kind, failure.message.contains("another job")), (FailureKind::Mismatch, true), "{failure}");
}
