//! How actors end.

use tandem_actor_protocol::ActorId;
use tandem_actor_protocol::call::{ActorOptions, ActorSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;

use crate::bench::{Bench, DRIVER};

#[test]
fn the_process_of_an_actor_that_has_ended_ends_too() {
    let mut bench = Bench::new();
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, options) = ("shop::Stock".to_owned(), ActorOptions::default());
    let shape = options.leased().into_owned();
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    bench.grant_of(5, shape, None);
    let count = bench.call(DRIVER, actor, "count");
    bench.say(DRIVER, ToNode::Kill { actor, at_once: false });
    assert!(bench.heard().any(|message| *message == ToExecutor::EndActor(actor)));
    bench.done(count);
    assert!(!bench.heard().any(|message| *message == ToExecutor::Shutdown), "before it says so");
    bench.say(bench.at(count), ToNode::ActorEnded(actor));
    assert!(bench.heard().any(|message| *message == ToExecutor::Shutdown));
}
