//! When the place of a task that waits is for others: not before its process has nothing else that it could begin.

use std::collections::BTreeSet;

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;

use crate::bench::Bench;
use crate::crashes::{has, pipelined};

/// How many processes were given tasks.
fn used(bench: &Bench) -> usize {
    bench.runs().into_iter().map(|(executor, ..)| executor).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_place_of_a_task_that_waits_is_for_others_when_nothing_is_queued_behind_it() {
    let (mut bench, calls) = pipelined(None);
    let executor = bench.at(calls[0]);
    let had = has(&bench, executor, &calls[..1]);
    bench.say(executor, ToNode::Began(had[0]));
    bench.say(executor, ToNode::Blocked(had[0]));
    // Were it cancelled now, its process would begin what is next.
    assert_eq!(used(&bench), 4);
    bench.say(executor, ToNode::GaveBack(had[1..3].to_vec()));
    assert_eq!(used(&bench), 4);
    bench.say(executor, ToNode::GaveBack(had[3..].to_vec()));
    assert_eq!(used(&bench), 5);
}

#[test]
fn a_task_that_waits_no_more_goes_on_in_the_place_that_it_has_still() {
    let (mut bench, calls) = pipelined(None);
    let executor = bench.at(calls[0]);
    let had = has(&bench, executor, &calls[..1]);
    bench.say(executor, ToNode::Blocked(had[0]));
    bench.say(executor, ToNode::Unblocked(had[0]));
    assert!(bench.heard_by().any(|told| told == (executor, &ToExecutor::Resume(had[0]))));
    assert_eq!(used(&bench), 4);
}
