//! From which state an actor goes on that lived on another worker, and what its callers have seen by then.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue, Reply, ReplyValue};
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ActorId, CallId, ObjectId, ProcessNumber, WorkerId};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, JOB, THERE};

const ELSEWHERE: WorkerId = WorkerId(3);

fn options() -> ActorOptions {
    ActorOptions { max_restarts: 3, retry_calls: true, ..ActorOptions::default() }
}

/// An actor that lives on another worker, which has sent a small state of it.
fn saved_once(bench: &mut Bench) -> (ActorId, ObjectId) {
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, shape) = ("shop::Stock".to_owned(), options().leased().into_owned());
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options: options() }));
    bench.grant_on(THERE, 50, shape, None);
    bench.hear(THERE, PeerBody::Done { call: actor.creation(), attempt: 0, outcome: Ok(vec![small()]) });
    let state = save(bench, actor, 1, Some(small()), Vec::new());
    assert_eq!(kept(bench), [true]);
    (actor, state)
}

fn small() -> RemoteValue {
    RemoteValue::Inline { format: Format::Bytes, bytes: "small".into(), refs: Vec::new() }
}

fn large() -> RemoteValue {
    RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() }
}

fn there(number: u64) -> ObjectId {
    ProcessNumber(0).object(THERE, number)
}

/// A checkpoint is sent, with its state as an object that it comes to be known by.
fn save(bench: &mut Bench, actor: ActorId, number: u64, state: Option<RemoteValue>, replies: Vec<Reply>) -> ObjectId {
    let object = there(number);
    let state = state.map(|state| (object, state));
    bench.hear(THERE, PeerBody::Checkpoint { actor, attempt: 0, state, replies });
    object
}

fn reply(call: CallId, object: Option<ObjectId>, value: RemoteValue) -> Vec<Reply> {
    vec![Reply { call, yielded: 0, outcome: Ok(vec![ReplyValue { object, value }]) }]
}

/// What was answered to checkpoints: whether they are kept.
fn kept(bench: &Bench) -> Vec<bool> {
    let answer = |body: &PeerBody| match body {
        PeerBody::Kept { outcome, .. } => Some(outcome.is_ok()),
        _ => None,
    };
    bench.said().filter_map(answer).collect()
}

fn is_fetched(bench: &Bench, object: ObjectId) -> bool {
    bench.acted.iter().any(|action| matches!(action, Action::Fetch { object: of, .. } if *of == object))
}

fn fetched(bench: &mut Bench, object: ObjectId) {
    assert!(is_fetched(bench, object), "{object} is fetched");
    bench.feed(Event::Fetched { job: JOB, object, outcome: Ok(()) });
}

fn cannot_be_fetched(bench: &mut Bench, object: ObjectId) {
    bench.feed(Event::Fetched { job: JOB, object, outcome: Err("connection reset".to_owned()) });
}

/// What the actor goes on from on a third worker.
fn goes_on_from(bench: &mut Bench) -> Option<ObjectId> {
    bench.grant_on(ELSEWHERE, 51, options().leased().into_owned(), None);
    let start = |body: &PeerBody| match body {
        PeerBody::Start { attempt: 1, checkpoint, .. } => Some(checkpoint.as_ref().map(|(object, _)| *object)),
        _ => None,
    };
    bench.said().find_map(start).expect("it starts again")
}

fn starts_again(bench: &Bench) -> bool {
    bench.said().any(|body| matches!(body, PeerBody::Start { attempt: 1, .. }))
}

fn lost(bench: &mut Bench) {
    bench.feed(Event::PeerLost { worker: THERE });
}

fn process_lost(bench: &mut Bench, actor: ActorId) {
    bench.feed(Event::LeaseRevoked { lease: 50 });
    let why = Failure::new(FailureKind::ProcessLost, "", "signal 9 ended its process");
    bench.hear(THERE, PeerBody::ActorLost { actor, attempt: 0, why });
}

/// A call of the driver, which waits for its value.
fn call(bench: &mut Bench, actor: ActorId) -> CallId {
    let call = bench.call(DRIVER, actor, "put");
    bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    assert_eq!(attempts(bench, call), [0]);
    call
}

/// The attempts of a call that were sent to other workers.
fn attempts(bench: &Bench, call: CallId) -> Vec<u32> {
    let sent = |body: &PeerBody| match body {
        PeerBody::Call { call: of, attempt, .. } if of.call == call => Some(*attempt),
        _ => None,
    };
    bench.said().filter_map(sent).collect()
}

/// How often the driver was told that a call has a value.
fn answers(bench: &Bench, call: CallId) -> usize {
    let told = |message: &&ToExecutor| matches!(message, ToExecutor::Value { object, outcome: Ok(_) } if *object == call.object(0));
    bench.heard().filter(told).count()
}

#[test]
fn the_state_before_is_kept_until_the_next_one_is_here() {
    let mut bench = Bench::new();
    let (actor, first) = saved_once(&mut bench);
    let second = save(&mut bench, actor, 2, Some(large()), Vec::new());
    lost(&mut bench);
    cannot_be_fetched(&mut bench, second);
    assert_eq!(goes_on_from(&mut bench), Some(first));
}

#[test]
fn checkpoints_are_kept_in_their_order() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let second = save(&mut bench, actor, 2, Some(large()), Vec::new());
    let third = save(&mut bench, actor, 3, Some(small()), Vec::new());
    assert_eq!(kept(&bench), [true]);
    fetched(&mut bench, second);
    assert_eq!(kept(&bench), [true; 3]);
    lost(&mut bench);
    assert_eq!(goes_on_from(&mut bench), Some(third));
}

#[test]
fn an_actor_whose_process_is_gone_waits_for_the_state_that_is_on_its_way() {
    for comes in [true, false] {
        let mut bench = Bench::new();
        let (actor, first) = saved_once(&mut bench);
        let second = save(&mut bench, actor, 2, Some(large()), Vec::new());
        process_lost(&mut bench, actor);
        bench.grant_on(ELSEWHERE, 52, options().leased().into_owned(), None);
        assert!(!starts_again(&bench));
        if comes {
            fetched(&mut bench, second);
        } else {
            lost(&mut bench);
        }
        assert_eq!(goes_on_from(&mut bench), Some(if comes { second } else { first }));
    }
}

#[test]
fn a_result_is_seen_when_the_checkpoint_that_covers_it_is_kept_and_its_call_is_not_made_again() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let seen = call(&mut bench, actor);
    let state = save(&mut bench, actor, 2, Some(large()), reply(seen, None, small()));
    assert_eq!(answers(&bench, seen), 0);
    process_lost(&mut bench, actor);
    fetched(&mut bench, state);
    assert_eq!((answers(&bench, seen), kept(&bench)), (1, vec![true; 2]));
    lost(&mut bench);
    assert_eq!(goes_on_from(&mut bench), Some(state));
    bench.hear(ELSEWHERE, PeerBody::Done { call: actor.creation(), attempt: 1, outcome: Ok(vec![small()]) });
    assert_eq!((answers(&bench, seen), attempts(&bench, seen)), (1, vec![0]));
}

#[test]
fn a_large_result_outlives_the_worker_that_it_was_made_on() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let seen = call(&mut bench, actor);
    save(&mut bench, actor, 2, Some(small()), reply(seen, Some(there(3)), large()));
    assert_eq!(answers(&bench, seen), 0);
    fetched(&mut bench, there(3));
    assert_eq!(answers(&bench, seen), 1);
    let returned = |body: &PeerBody| matches!(body, PeerBody::Return(objects) if objects.contains(&there(3)));
    assert!(bench.said().any(returned), "it is needed there no more");
    lost(&mut bench);
    bench.say(DRIVER, ToNode::Watch { objects: vec![seen.object(0)], fetch: true });
    assert_eq!(answers(&bench, seen), 2, "it is here");
}

#[test]
fn what_no_checkpoint_covers_is_made_again_in_its_order() {
    let mut bench = Bench::new();
    let (actor, first) = saved_once(&mut bench);
    let calls = [(); 3].map(|()| call(&mut bench, actor));
    save(&mut bench, actor, 2, Some(large()), reply(calls[0], None, small()));
    lost(&mut bench);
    assert_eq!(goes_on_from(&mut bench), Some(first));
    bench.hear(ELSEWHERE, PeerBody::Done { call: actor.creation(), attempt: 1, outcome: Ok(vec![small()]) });
    let again = |body: &PeerBody| match body {
        PeerBody::Call { call, attempt: 1, .. } => Some(call.call),
        _ => None,
    };
    assert_eq!(bench.said().filter_map(again).collect::<Vec<_>>(), calls);
}

#[test]
fn an_actor_whose_checkpoint_cannot_be_kept_starts_again_from_the_one_before() {
    let mut bench = Bench::new();
    let (actor, first) = saved_once(&mut bench);
    let undone = call(&mut bench, actor);
    let second = save(&mut bench, actor, 2, Some(large()), reply(undone, None, small()));
    // It was made before the host knew.
    let later = call(&mut bench, actor);
    cannot_be_fetched(&mut bench, second);
    save(&mut bench, actor, 3, Some(small()), reply(later, None, small()));
    assert_eq!(kept(&bench), [true, false, false], "the third covers what the second does");
    assert_eq!((answers(&bench, undone), answers(&bench, later)), (0, 0));
    let new = bench.call(DRIVER, actor, "put");
    assert_eq!(attempts(&bench, new), [0_u32; 0], "it waits for the next start");
    process_lost(&mut bench, actor);
    assert_eq!(goes_on_from(&mut bench), Some(first));
    bench.hear(ELSEWHERE, PeerBody::Done { call: actor.creation(), attempt: 1, outcome: Ok(vec![small()]) });
    for (call, made) in [(undone, vec![0, 1]), (later, vec![0, 1]), (new, vec![0])] {
        assert_eq!(attempts(&bench, call), made);
    }
}

#[test]
fn a_call_of_a_caller_elsewhere_is_answered_by_the_owner_before_it_hears_of_another_place() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let theirs = CallId(ProcessNumber(9).object(ELSEWHERE, 1).0);
    bench.hear(ELSEWHERE, PeerBody::WatchActor(actor));
    let state = save(&mut bench, actor, 2, Some(large()), reply(theirs, None, small()));
    process_lost(&mut bench, actor);
    fetched(&mut bench, state);
    goes_on_from(&mut bench);
    bench.hear(ELSEWHERE, PeerBody::Done { call: actor.creation(), attempt: 1, outcome: Ok(vec![small()]) });
    let told = |body: &PeerBody| match body {
        PeerBody::Covered { call, outcome, .. } if *call == theirs => Some(outcome.is_ok()),
        PeerBody::ActorAt { place: Ok(Some(ELSEWHERE)), start: 1, .. } => Some(false),
        _ => None,
    };
    assert_eq!(bench.said().filter_map(told).collect::<Vec<_>>(), [true, false]);
}
