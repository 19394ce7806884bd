//! When the place of a task that waits is for others: not before its process has nothing else that it could begin.

use std::collections::BTreeSet;

use tandem_actor_protocol::ExecutorId;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::ToNode;

use crate::bench::Bench;
use crate::crashes::{has, pipelined};

/// How many processes were given tasks.
fn used(bench: &Bench) -> usize {
    bench.runs().into_iter().map(|(executor, ..)| executor).collect::<BTreeSet<_>>().len()
}

/// How many tasks a process was asked for, each time.
fn recalls(bench: &Bench, executor: ExecutorId) -> Vec<u32> {
    let recall = |(at, message): (ExecutorId, &ToExecutor)| match message {
        ToExecutor::Recall(count) if at == executor => Some(*count),
        _ => None,
    };
    bench.heard_by().filter_map(recall).collect()
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

#[test]
fn all_that_is_queued_behind_a_task_that_waits_is_recalled_though_some_of_it_was_before() {
    let (mut bench, calls) = pipelined(None);
    let executor = bench.at(calls[0]);
    let mut done = vec![calls[0]];
    while recalls(&bench, executor).is_empty() {
        let other = bench.runs().into_iter().find(|(at, call, _)| *at != executor && !done.contains(call));
        let (_, call, _) = other.expect("it gives some back when others have nothing");
        bench.done(call);
        done.push(call);
    }
    let had = has(&bench, executor, &done);
    let some = recalls(&bench, executor)[0] as usize;
    assert!(some + 1 < had.len(), "{some} of {had:?}");
    // It has not heard of any of them yet.
    bench.say(executor, ToNode::Blocked(had[0]));
    bench.say(executor, ToNode::GaveBack(had[had.len() - some..].to_vec()));
    assert_eq!(recalls(&bench, executor).last(), Some(&u32::MAX), "what it waits for may be among the others");
}
