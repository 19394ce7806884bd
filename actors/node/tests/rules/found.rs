//! Actors that are found by their names, when nobody has a handle of them any more.

use tandem_actor_protocol::ActorId;
use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::PeerBody;

use crate::bench::{Bench, DRIVER, THERE};

/// An actor that nobody has a handle of.
fn left_alone(bench: &mut Bench, options: ActorOptions) -> ActorId {
    let actor = ActorId(bench.next_id(DRIVER).0);
    let class = "shop::Stock".to_owned();
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    bench.say(DRIVER, ToNode::Release(vec![actor.creation().object(0)]));
    actor
}

/// A process finds it, and wants to know when it has started.
fn find(bench: &mut Bench, actor: ActorId) {
    let created = actor.creation().object(0);
    bench.say(DRIVER, ToNode::Retain(vec![created]));
    bench.say(DRIVER, ToNode::Watch { objects: vec![created], fetch: true });
}

fn has_started(bench: &Bench, actor: ActorId) -> bool {
    let created = actor.creation().object(0);
    bench.heard().any(|message| matches!(message, ToExecutor::Value { object, outcome: Ok(_) } if *object == created))
}

#[test]
fn an_actor_that_is_found_has_started() {
    let mut bench = Bench::new();
    let actor = left_alone(&mut bench, ActorOptions { light: true, ..ActorOptions::default() });
    find(&mut bench, actor);
    assert!(has_started(&bench, actor));
    bench.say(DRIVER, ToNode::Release(vec![actor.creation().object(0)]));
    bench.hear(THERE, PeerBody::Borrow(vec![actor.creation().object(0)]));
    assert!(bench.said().any(|body| matches!(body, PeerBody::Resolved { outcome: Ok(_), .. })), "others hear it too");
}

#[test]
fn an_actor_that_is_found_early_starts_later_or_never() {
    let options = ActorOptions::default();
    let shape = options.leased().into_owned();
    for starts in [true, false] {
        let mut bench = Bench::new();
        let actor = left_alone(&mut bench, options.clone());
        find(&mut bench, actor);
        assert!(!has_started(&bench, actor) && bench.told_none(), "it waits for a lease");
        if starts {
            bench.grant_of(5, shape.clone(), None);
            assert!(has_started(&bench, actor));
        } else {
            bench.say(DRIVER, ToNode::Kill { actor, at_once: true });
            let failure = bench.failure(actor.creation()).expect("it is gone");
            assert_eq!(failure.kind, FailureKind::ActorGone);
        }
    }
}
