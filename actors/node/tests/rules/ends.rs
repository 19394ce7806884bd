//! How actors end.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId};
use tandem_node::Action;

use crate::bench::{Bench, DRIVER};

/// An actor with a process of its own, which is at a call.
fn at_call(bench: &mut Bench) -> (ActorId, CallId) {
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, options) = ("shop::Stock".to_owned(), ActorOptions::default());
    let shape = options.leased().into_owned();
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    bench.grant_of(5, shape, None);
    let call = bench.call(DRIVER, actor, "count");
    (actor, call)
}

/// Whether a process was to be killed.
fn killed(bench: &Bench) -> bool {
    bench.acted.iter().any(|action| matches!(action, Action::StopExecutor { at_once: true, .. }))
}

#[test]
fn the_process_of_an_actor_that_has_ended_ends_too() {
    let mut bench = Bench::new();
    let (actor, count) = at_call(&mut bench);
    bench.say(DRIVER, ToNode::Kill { actor, at_once: false });
    assert!(bench.heard().any(|message| *message == ToExecutor::EndActor(actor)));
    bench.done(count);
    assert!(!bench.heard().any(|message| *message == ToExecutor::Shutdown), "before it says so");
    bench.say(bench.at(count), ToNode::ActorEnded(actor));
    assert!(bench.heard().any(|message| *message == ToExecutor::Shutdown));
}

#[test]
fn an_actor_that_ends_in_order_goes_on_when_it_is_asked_to_again() {
    let mut bench = Bench::new();
    let (actor, count) = at_call(&mut bench);
    bench.say(DRIVER, ToNode::Kill { actor, at_once: false });
    bench.say(DRIVER, ToNode::Kill { actor, at_once: false });
    assert!(!killed(&bench));
    bench.done(count);
    bench.say(DRIVER, ToNode::Watch { objects: vec![count.object(0)], fetch: true });
    assert!(bench.told_none(), "it has its value");
    bench.say(DRIVER, ToNode::Kill { actor, at_once: true });
    assert!(killed(&bench), "unless it is to end at once");
}
