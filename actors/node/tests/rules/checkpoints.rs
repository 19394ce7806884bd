//! From which state an actor goes on that lived on another worker.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ActorId, ObjectId, ProcessNumber, WorkerId};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, JOB, THERE};

const ELSEWHERE: WorkerId = WorkerId(3);

/// An actor that lives on another worker, which has sent a small state of it.
fn saved_once(bench: &mut Bench) -> (ActorId, ObjectId) {
    let actor = ActorId(bench.next_id(DRIVER).0);
    let options = ActorOptions { max_restarts: 3, ..ActorOptions::default() };
    let (class, shape) = ("shop::Stock".to_owned(), options.leased().into_owned());
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    bench.grant_on(THERE, 50, shape, None);
    bench.hear(THERE, PeerBody::Done { call: actor.creation(), attempt: 0, outcome: Ok(vec![small()]) });
    (actor, save(bench, actor, 1, small()))
}

fn small() -> RemoteValue {
    RemoteValue::Inline { format: Format::Bytes, bytes: "small".into(), refs: Vec::new() }
}

/// Its state is sent, as an object that it comes to be known by.
fn save(bench: &mut Bench, actor: ActorId, number: u64, state: RemoteValue) -> ObjectId {
    let object = ProcessNumber(0).object(THERE, number);
    bench.hear(THERE, PeerBody::Checkpoint { actor, object, state });
    object
}

fn save_much(bench: &mut Bench, actor: ActorId, number: u64) -> ObjectId {
    let state = RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() };
    save(bench, actor, number, state)
}

fn fetched(bench: &mut Bench, object: ObjectId) {
    let asked = |action: &Action| matches!(action, Action::Fetch { object: of, .. } if *of == object);
    assert!(bench.acted.iter().any(asked), "{object} is fetched");
    bench.feed(Event::Fetched { job: JOB, object, outcome: Ok(()) });
}

/// What the actor goes on from on a third worker.
fn goes_on_from(bench: &mut Bench) -> Option<ObjectId> {
    bench.grant_on(ELSEWHERE, 51, ActorOptions::default().leased().into_owned(), None);
    let start = |body: &PeerBody| match body {
        PeerBody::Start { attempt: 1, checkpoint, .. } => Some(checkpoint.as_ref().map(|(object, _)| *object)),
        _ => None,
    };
    bench.said().find_map(start).expect("it starts again")
}

fn lost(bench: &mut Bench) {
    bench.feed(Event::PeerLost { worker: THERE });
}

#[test]
fn the_state_before_is_kept_until_the_next_one_is_here() {
    let mut bench = Bench::new();
    let (actor, first) = saved_once(&mut bench);
    let second = save_much(&mut bench, actor, 2);
    lost(&mut bench);
    bench.feed(Event::Fetched { job: JOB, object: second, outcome: Err("connection reset".to_owned()) });
    assert_eq!(goes_on_from(&mut bench), Some(first));
}

#[test]
fn states_that_come_faster_than_they_are_fetched_are_fetched_one_after_the_other() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let [second, third, fourth] = [2, 3, 4].map(|number| save_much(&mut bench, actor, number));
    fetched(&mut bench, second);
    let asked = |action: &Action| matches!(action, Action::Fetch { object, .. } if *object == third);
    assert!(!bench.acted.iter().any(asked), "there is a newer one");
    fetched(&mut bench, fourth);
    lost(&mut bench);
    assert_eq!(goes_on_from(&mut bench), Some(fourth));
}

#[test]
fn an_actor_goes_on_from_a_state_that_is_on_its_way_if_only_its_process_is_gone() {
    let mut bench = Bench::new();
    let (actor, _) = saved_once(&mut bench);
    let second = save_much(&mut bench, actor, 2);
    bench.feed(Event::LeaseRevoked { lease: 50 });
    let why = Failure::new(FailureKind::ProcessLost, "", "signal 9 ended its process");
    bench.hear(THERE, PeerBody::ActorLost { actor, attempt: 0, why });
    assert_eq!(goes_on_from(&mut bench), Some(second));
}
