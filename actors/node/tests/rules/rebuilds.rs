//! Objects that are made again because they cannot be read.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec, Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ActorId, CallId, ObjectId, ProcessNumber};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, JOB, THERE, WORKER};

/// What only the other worker has.
fn options() -> TaskOptions {
    let mut shape = Shape::one_cpu();
    shape.milli.insert("license".to_owned(), 1_000);
    TaskOptions { shape, ..TaskOptions::default() }
}

#[test]
fn a_value_that_can_never_be_read_is_lost_in_the_end_and_the_workers_are_named() {
    let mut bench = Bench::new();
    let call = bench.submit("solve", Vec::new(), Some(options()));
    let object = call.object(0);
    bench.say(DRIVER, ToNode::Watch { objects: vec![object], fetch: true });
    bench.grant_on(THERE, 60, options().shape, None);
    let mut runs = 0;
    let failure = loop {
        if let Some(failure) = bench.failure(call) {
            break failure;
        }
        let attempt = |body: &PeerBody| match body {
            PeerBody::Run { attempt, .. } => Some(*attempt),
            _ => None,
        };
        let attempts: Vec<u32> = bench.said().filter_map(attempt).collect();
        runs += 1;
        assert!(attempts.len() == runs && runs < 50, "it runs again for each time, and not for ever: {attempts:?}");
        let value = RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() };
        let outcome = Ok(vec![value]);
        bench.hear(THERE, PeerBody::Done { call, attempt: attempts[runs - 1], outcome });
        let fetched = bench.acted.iter().filter(|action| matches!(action, Action::Fetch { .. })).count();
        assert_eq!(fetched, runs);
        bench.feed(Event::Fetched { job: JOB, object, outcome: Err("connection refused".to_owned()) });
    };
    assert_eq!(failure.kind, FailureKind::ObjectLost);
    let named = [WORKER, THERE].map(|worker| failure.message.contains(&worker.to_string()));
    assert_eq!((named, runs > 1), ([true, true], true), "{failure}");
}

/// An object of the other worker, which keeps it.
fn theirs() -> ObjectId {
    ProcessNumber(9).object(THERE, 1)
}

fn kept_there() -> RemoteValue {
    RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() }
}

fn names_both(failure: &Failure) -> bool {
    failure.kind == FailureKind::ObjectLost
        && [WORKER, THERE].iter().all(|worker| failure.message.contains(&worker.to_string()))
}

/// What the other worker was sent is sent back since an argument that is here cannot be read there, until the driver hears why it has
/// failed. Returns how often it was sent.
fn sent_until_it_fails(bench: &mut Bench, call: CallId, sent: impl Fn(&PeerBody) -> bool) -> usize {
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    for times in 1.. {
        assert_eq!(bench.said().filter(|body| sent(body)).count(), times, "it is sent once for each time");
        bench.hear(THERE, PeerBody::CannotRead { object: theirs(), worker: WORKER, calls: vec![call] });
        if let Some(failure) = bench.failure(call) {
            assert!(names_both(&failure), "{failure}");
            return times;
        }
        assert!(times < 50, "it does not end");
        // An actor waits for another lease.
        bench.grant_on(THERE, 100 + times as u64, ActorOptions::default().leased().into_owned(), None);
    }
    unreachable!("it ends above")
}

#[test]
fn what_has_an_argument_that_can_never_be_read_there_fails_in_the_end() {
    let mut bench = Bench::new();
    bench.grant_on(THERE, 60, options().shape, None);
    let task = bench.submit("solve", Vec::new(), Some(options()));
    let runs = sent_until_it_fails(&mut bench, task, |body| matches!(body, PeerBody::Run { .. }));

    let mut bench = Bench::new();
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, lived) = ("shop::Stock".to_owned(), ActorOptions::default());
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options: lived }));
    bench.grant_on(THERE, 60, ActorOptions::default().leased().into_owned(), None);
    let starts = sent_until_it_fails(&mut bench, actor.creation(), |body| matches!(body, PeerBody::Start { .. }));

    let mut bench = Bench::new();
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, lived) = ("shop::Stock".to_owned(), ActorOptions::default());
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options: lived }));
    bench.grant_on(THERE, 60, ActorOptions::default().leased().into_owned(), None);
    let small = RemoteValue::Inline { format: Format::Serde, bytes: bytes::Bytes::new(), refs: Vec::new() };
    bench.hear(THERE, PeerBody::Done { call: actor.creation(), attempt: 0, outcome: Ok(vec![small]) });
    let call = bench.call(DRIVER, actor, "put");
    let calls = sent_until_it_fails(&mut bench, call, |body| matches!(body, PeerBody::Call { .. }));
    assert!(runs > 1 && runs == starts && runs == calls, "{runs}, {starts} and {calls} times");
}

#[test]
fn a_task_whose_argument_can_never_be_read_here_fails_in_the_end() {
    let mut bench = Bench::new();
    bench.say(DRIVER, ToNode::Retain(vec![theirs()]));
    let resolved = || PeerBody::Resolved { object: theirs(), outcome: Ok(kept_there()) };
    bench.hear(THERE, resolved());
    let call = bench.submit("solve", vec![Arg::Object(theirs())], None);
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    let mut times = 0;
    let failure = loop {
        if let Some(failure) = bench.failure(call) {
            break failure;
        }
        times += 1;
        assert_eq!(bench.acted.iter().filter(|action| matches!(action, Action::Fetch { .. })).count(), times);
        assert!(times < 50, "it does not end");
        bench.feed(Event::Fetched { job: JOB, object: theirs(), outcome: Err("connection refused".to_owned()) });
        // Its owner has it as before.
        bench.hear(THERE, resolved());
    };
    assert!(names_both(&failure), "{failure}");
}

#[test]
fn a_host_says_what_it_could_not_read_when_it_gives_a_task_back() {
    let mut bench = Bench::new();
    bench.grant_to_peer(60);
    let call = CallId(ProcessNumber(3).object(THERE, 1).0);
    let (function, args) = ("solve".to_owned(), vec![Arg::Object(theirs())]);
    let task = TaskSpec { call, function, args, returns: 1, parent: None, options: None };
    bench.hear(THERE, PeerBody::Run { lease: 60, task, attempt: 0, resolved: vec![(theirs(), kept_there())] });
    bench.feed(Event::Fetched { job: JOB, object: theirs(), outcome: Err("connection refused".to_owned()) });
    let told = PeerBody::CannotRead { object: theirs(), worker: THERE, calls: vec![call] };
    assert_eq!(bench.said().last(), Some(&told));
}
