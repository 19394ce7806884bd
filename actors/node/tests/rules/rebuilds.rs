//! Objects that are made again because they cannot be read.

use tandem_actor_protocol::call::TaskOptions;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Format;
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
