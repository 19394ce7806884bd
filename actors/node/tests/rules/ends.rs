//! How actors end.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId};
use tandem_node::{Action, Event, ExitCause};

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

/// A light actor that was killed while it had two calls, and a call of another one in the same process.
fn killed_light(bench: &mut Bench) -> (ActorId, CallId) {
    let (killed, other) = (bench.spawn("shop::Stock", 1), bench.spawn("shop::Till", 1));
    let calls = [bench.call(DRIVER, killed, "count"), bench.call(DRIVER, killed, "take")];
    let beside = bench.call(DRIVER, other, "sum");
    bench.say(DRIVER, ToNode::Watch { objects: vec![beside.object(0)], fetch: true });
    bench.say(DRIVER, ToNode::Kill { actor: killed, at_once: true });
    let said: Vec<_> = bench.heard().skip_while(|message| !matches!(message, ToExecutor::Cancel(_))).cloned().collect();
    let cancelled = [calls[1], calls[0], killed.creation()].map(ToExecutor::Cancel);
    assert_eq!(said[..3], cancelled, "what it is at, and what it has not begun");
    assert_eq!(said[3], ToExecutor::EndActor(killed));
    (killed, beside)
}

#[test]
fn a_light_actor_that_is_killed_ends_and_no_other() {
    let mut bench = Bench::new();
    let (actor, beside) = killed_light(&mut bench);
    bench.say(bench.at(beside), ToNode::ActorEnded(actor));
    bench.wait(60_000);
    assert!(!killed(&bench));
    bench.done(beside);
    assert!(bench.told_none());
}

#[test]
fn a_light_actor_that_does_not_end_when_it_is_killed_takes_its_process_along_and_that_is_said() {
    let mut bench = Bench::new();
    let (_, beside) = killed_light(&mut bench);
    bench.wait(1_000);
    assert!(!killed(&bench), "it has some time");
    bench.wait(60_000);
    assert!(killed(&bench));
    bench.feed(Event::ExecutorGone { executor: bench.at(beside), cause: ExitCause::Asked });
    let failure = bench.failure(beside).expect("its actor is gone");
    assert!(failure.message.contains("shop::Stock, which was killed, did not end"), "{failure}");
}
