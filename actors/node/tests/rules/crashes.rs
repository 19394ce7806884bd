//! What is charged for the end of a process, which takes along what the process said last.

use std::collections::BTreeMap;

use tandem_actor_protocol::call::TaskOptions;
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{CallId, ExecutorId};
use tandem_node::{Event, ExitCause};

use crate::bench::{Bench, DRIVER};

const TASKS: usize = 40;

/// Many tasks, one of which has ended, so that its process was given some ahead.
pub(crate) fn pipelined(options: Option<TaskOptions>) -> (Bench, Vec<CallId>) {
    let mut bench = Bench::new();
    let calls: Vec<CallId> = (0..TASKS).map(|_| bench.submit("step", Vec::new(), options.clone())).collect();
    for call in &calls {
        bench.say(DRIVER, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    }
    bench.done(calls[0]);
    (bench, calls)
}

/// What a process was given and has not done, the first one first.
pub(crate) fn has(bench: &Bench, executor: ExecutorId, done: &[CallId]) -> Vec<CallId> {
    let of_it = bench.runs().into_iter().filter(|(at, call, _)| *at == executor && !done.contains(call));
    of_it.map(|(_, call, _)| call).collect()
}

fn dies(bench: &mut Bench, executor: ExecutorId) {
    bench.feed(Event::ExecutorGone { executor, cause: ExitCause::Signalled(6) });
}

#[test]
fn none_of_several_tasks_is_charged_for_the_end_of_their_process_and_each_runs_alone_then() {
    let (mut bench, calls) = pipelined(None);
    let executor = bench.at(calls[0]);
    let had = has(&bench, executor, &calls[..1]);
    assert!(had.len() > 2, "{had:?}");
    bench.say(executor, ToNode::Began(had[0]));
    dies(&mut bench, executor);
    let mut done = vec![calls[0]];
    loop {
        let mut under_way: BTreeMap<ExecutorId, Vec<(CallId, u32)>> = BTreeMap::new();
        let runs = bench.runs().into_iter().filter(|(at, call, _)| *at != executor && !done.contains(call));
        runs.for_each(|(at, call, attempt)| under_way.entry(at).or_default().push((call, attempt)));
        for given in under_way.values() {
            let suspects = given.iter().filter(|(call, _)| had.contains(call)).count();
            assert!(suspects == 0 || given.len() == 1, "{given:?}");
        }
        let Some((at, given)) = under_way.first_key_value() else { break };
        let (call, attempt) = given[0];
        assert_eq!(attempt, 0, "it may have ended, or not begun");
        done.push(call);
        let outcome = Ok(vec![Value::inline(Format::Bytes, &b"1"[..])]);
        bench.say(*at, ToNode::Done { call, attempt, outcome });
    }
    assert_eq!(done.len(), TASKS);
}

#[test]
fn tasks_that_may_not_run_twice_are_alone_in_their_processes() {
    let (mut bench, calls) = pipelined(Some(TaskOptions { retries: 0, ..TaskOptions::default() }));
    let mut given: BTreeMap<ExecutorId, Vec<CallId>> = BTreeMap::new();
    bench.runs().into_iter().for_each(|(at, call, _)| given.entry(at).or_default().push(call));
    let at = bench.at(calls[0]);
    assert!(given.iter().all(|(process, given)| given.len() == 1 + usize::from(*process == at)), "{given:?}");
    let second = given[&at][1];
    dies(&mut bench, at);
    let failure = bench.failure(second).expect("it may have begun");
    assert_eq!(failure.kind, FailureKind::ProcessLost);
    assert_eq!(bench.runs().iter().filter(|(_, call, _)| *call == second).count(), 1);
}
