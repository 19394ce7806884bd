//! Leases on other workers that are gone before what was there is.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec, TaskOptions, TaskSpec};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ActorId, CallId, ProcessNumber};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, THERE};

const FIRST: u64 = 50;
const SECOND: u64 = 51;

/// An actor that may be started again.
fn options() -> ActorOptions {
    ActorOptions { max_restarts: 3, ..ActorOptions::default() }
}

/// An actor that is to live on another worker, on the first lease.
fn spawn_there(bench: &mut Bench) -> ActorId {
    let actor = ActorId(bench.next_id(DRIVER).0);
    let (class, options) = ("shop::Stock".to_owned(), options());
    bench.say(DRIVER, ToNode::Spawn(ActorSpec { actor, class, args: Vec::new(), parent: None, options }));
    grant_there(bench, FIRST);
    actor
}

fn grant_there(bench: &mut Bench, lease: u64) {
    bench.grant_on(THERE, lease, options().leased().into_owned(), None);
}

/// On which leases it was to be started, and which start that was.
fn starts(bench: &Bench) -> Vec<(u64, u32)> {
    let start = |body: &PeerBody| match body {
        PeerBody::Start { lease, attempt, .. } => Some((*lease, *attempt)),
        _ => None,
    };
    bench.said().filter_map(start).collect()
}

#[test]
fn an_actor_does_not_start_again_on_a_lease_that_was_revoked_while_it_had_it() {
    let mut bench = Bench::new();
    let actor = spawn_there(&mut bench);
    let value = RemoteValue::Inline { format: Format::Serde, bytes: bytes::Bytes::new(), refs: Vec::new() };
    bench.hear(THERE, PeerBody::Done { call: actor.creation(), attempt: 0, outcome: Ok(vec![value]) });
    bench.feed(Event::LeaseRevoked { lease: FIRST });
    let why = Failure::new(FailureKind::ProcessLost, "", "signal 9 ended its process");
    bench.hear(THERE, PeerBody::ActorLost { actor, attempt: 0, why });
    assert_eq!(starts(&bench), [(FIRST, 0)], "its host has given the lease back");
    grant_there(&mut bench, SECOND);
    assert_eq!(starts(&bench), [(FIRST, 0), (SECOND, 1)]);
}

#[test]
fn an_actor_whose_lease_its_host_does_not_have_waits_for_another_one() {
    let mut bench = Bench::new();
    let actor = spawn_there(&mut bench);
    bench.hear(THERE, PeerBody::GaveBack(vec![actor.creation()]));
    assert_eq!(starts(&bench), [(FIRST, 0)], "it would come back again and again");
    assert!(bench.acted.contains(&Action::ReleaseLease { lease: FIRST }));
    bench.feed(Event::LeaseRevoked { lease: FIRST });
    grant_there(&mut bench, SECOND);
    assert_eq!(starts(&bench), [(FIRST, 0), (SECOND, 0)]);
}

/// Of what only another worker has.
fn licensed() -> TaskOptions {
    let mut shape = Shape::one_cpu();
    shape.milli.insert("license".to_owned(), 1_000);
    TaskOptions { shape, ..TaskOptions::default() }
}

/// The tasks that were sent to other workers, by lease.
fn sent(bench: &Bench) -> Vec<(u64, CallId)> {
    let run = |body: &PeerBody| match body {
        PeerBody::Run { lease, task, .. } => Some((*lease, task.call)),
        _ => None,
    };
    bench.said().filter_map(run).collect()
}

#[test]
fn a_task_whose_lease_has_no_place_any_more_waits_for_another_one() {
    let mut bench = Bench::new();
    bench.grant_on(THERE, FIRST, licensed().shape, None);
    let tasks = [(); 2].map(|()| bench.submit("solve", Vec::new(), Some(licensed())));
    let first: Vec<_> = sent(&bench);
    assert!(first.contains(&(FIRST, tasks[0])), "{first:?}");
    bench.hear(THERE, PeerBody::NoPlace { lease: FIRST, calls: first.iter().map(|(_, call)| *call).collect() });
    assert_eq!(sent(&bench), first, "it would come back again and again");
    assert!(bench.acted.contains(&Action::ReleaseLease { lease: FIRST }));
    bench.feed(Event::LeaseRevoked { lease: FIRST });
    bench.grant_on(THERE, SECOND, licensed().shape, None);
    assert_eq!(sent(&bench)[first.len()], (SECOND, tasks[0]), "it has kept its turn");
}

#[test]
fn what_comes_for_a_lease_without_a_place_goes_back_and_says_so() {
    let mut bench = Bench::new();
    bench.grant_to_peer(FIRST);
    bench.feed(Event::LeaseRevoked { lease: FIRST });
    let call = CallId(ProcessNumber(3).object(THERE, 1).0);
    for lease in [FIRST, SECOND] {
        let (function, args) = ("solve".to_owned(), Vec::new());
        let task = TaskSpec { call, function, args, returns: 1, parent: None, options: None };
        bench.hear(THERE, PeerBody::Run { lease, task, attempt: 0, resolved: Vec::new() });
        // The second one never comes.
        bench.wait(60_000);
        assert_eq!(bench.said().last(), Some(&PeerBody::NoPlace { lease, calls: vec![call] }));
    }
}
