//! Tasks that yield items: who is told what, and what becomes of items when something is lost.

use tandem_actor_protocol::call::{TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId};
use tandem_node::{Action, Event};

use crate::bench::{Bench, DRIVER, JOB, THERE};
use crate::yielding::{finish, produce, some, told, want};

/// Submits a stream of which the driver wants so many items.
fn submit(bench: &mut Bench, window: usize, options: TaskOptions) -> (CallId, Vec<ObjectId>) {
    submit_from(bench, DRIVER, None, window, options)
}

fn submit_from(
    bench: &mut Bench,
    consumer: ExecutorId,
    parent: Option<CallId>,
    window: usize,
    options: TaskOptions,
) -> (CallId, Vec<ObjectId>) {
    let call = bench.next_id(consumer);
    let (function, args, options) = ("pages".to_owned(), Vec::new(), Some(Box::new(options)));
    let task = TaskSpec { call, function, args, returns: 1, parent, options };
    bench.say(consumer, ToNode::SubmitStream { task, bundle: None });
    bench.say(consumer, ToNode::Watch { objects: vec![call.object(0)], fetch: true });
    let items = want(bench, consumer, call, window);
    (call, items)
}

/// The attempts that processes were sent: where, which, and what was wanted of each.
fn attempts(bench: &Bench, call: CallId) -> Vec<(ExecutorId, u32, Vec<(u64, u64)>)> {
    let attempt = |(executor, message): (ExecutorId, &ToExecutor)| match message {
        ToExecutor::RunStream { run, wanted } if run.call == call => Some((executor, run.attempt, wanted.clone())),
        _ => None,
    };
    bench.heard_by().filter_map(attempt).collect()
}

#[test]
fn items_are_told_as_they_come_and_the_end_after_them() {
    let mut bench = Bench::new();
    let (call, mut items) = submit(&mut bench, 2, TaskOptions::default());
    let (executor, attempt, wanted) = attempts(&bench, call).remove(0);
    // What is wanted may be said with the task, or after it.
    let told_until = |bench: &Bench| {
        let until = |message: &ToExecutor| match message {
            ToExecutor::MayYield { until, .. } => Some(*until),
            _ => None,
        };
        bench.heard().filter_map(until).last().unwrap_or(wanted[0].1)
    };
    assert_eq!((attempt, told_until(&bench)), (0, 2));
    produce(&mut bench, call, 0);
    produce(&mut bench, call, 1);
    assert_eq!(told(&bench, call), some(&items));
    items.extend(want(&mut bench, DRIVER, call, 1));
    assert_eq!(told_until(&bench), 3);
    produce(&mut bench, call, 2);
    want(&mut bench, DRIVER, call, 2);
    finish(&mut bench, call, Ok(3));
    let all: Vec<_> = some(&items).into_iter().chain([None]).collect();
    assert_eq!(told(&bench, call), all, "those that never come are not told of");
    assert!(bench.acted.iter().all(|action| !matches!(action, Action::StopExecutor { .. })), "{executor:?}");
}

#[test]
fn a_failure_comes_after_the_items_before_it() {
    let mut bench = Bench::new();
    let (call, items) = submit(&mut bench, 3, TaskOptions::default());
    produce(&mut bench, call, 0);
    finish(&mut bench, call, Err(Failure::new(FailureKind::Returned, "pages", "no more pages")));
    assert_eq!(told(&bench, call), [Some(items[0]), None]);
    assert_eq!(bench.failure(call).map(|failure| failure.message).as_deref(), Some("no more pages"));
    bench.say(DRIVER, ToNode::Release(items.into_iter().chain([call.object(0)]).collect()));
    assert_eq!((bench.node.objects(None).count(), bench.node.tasks(None).count()), (0, 0));
}

#[test]
fn who_yields_more_than_is_wanted_breaks_the_protocol() {
    let mut bench = Bench::new();
    let (call, items) = submit(&mut bench, 1, TaskOptions::default());
    let (executor, ..) = attempts(&bench, call).remove(0);
    produce(&mut bench, call, 1);
    assert!(bench.acted.contains(&Action::StopExecutor { executor, at_once: true }));
    assert_eq!(told(&bench, call), some(&items[..0]));
}

#[test]
fn another_attempt_yields_what_the_first_has_not() {
    let mut bench = Bench::new();
    let (call, items) = submit(&mut bench, 4, TaskOptions::default());
    produce(&mut bench, call, 0);
    produce(&mut bench, call, 1);
    let (first, ..) = attempts(&bench, call).remove(0);
    bench.dies(first);
    let (second, _, wanted) = attempts(&bench, call).remove(1);
    assert_eq!((second != first, wanted), (true, vec![(2, 4)]));
    produce(&mut bench, call, 1);
    produce(&mut bench, call, 2);
    assert_eq!(told(&bench, call), some(&items[..3]), "each once");
}

#[test]
fn a_stream_ends_with_the_process_that_takes_its_items() {
    let mut bench = Bench::new();
    let parent = bench.submit("crawl", Vec::new(), Some(TaskOptions { retries: 0, ..TaskOptions::default() }));
    let consumer = bench.at(parent);
    let (call, _) = submit_from(&mut bench, consumer, Some(parent), 2, TaskOptions::default());
    assert_eq!(attempts(&bench, call).len(), 1);
    bench.dies(consumer);
    assert!(bench.heard().any(|message| *message == ToExecutor::Cancel(call)));
    finish(&mut bench, call, Err(Failure::new(FailureKind::Cancelled, "", "cancelled")));
    assert_eq!(attempts(&bench, call).len(), 1, "it does not run again");
    assert!(bench.node.tasks(None).all(|task| task.call != call));
}

/// What only the other worker has.
fn there() -> TaskOptions {
    let mut shape = Shape::one_cpu();
    shape.milli.insert("license".to_owned(), 1_000);
    TaskOptions { shape, ..TaskOptions::default() }
}

fn stream_there(bench: &mut Bench, window: usize) -> (CallId, Vec<ObjectId>) {
    let stream = submit(bench, window, there());
    bench.grant_on(THERE, 60, there().shape, None);
    stream
}

/// What the other worker was to run: which attempt, and which items were wanted.
fn attempts_there(bench: &Bench) -> Vec<(u32, Vec<u64>)> {
    let attempt = |body: &PeerBody| match body {
        PeerBody::RunStream { attempt, wanted, .. } => {
            Some((*attempt, wanted.iter().map(|(index, _)| *index).collect()))
        }
        _ => None,
    };
    bench.said().filter_map(attempt).collect()
}

fn come(bench: &mut Bench, items: &[ObjectId]) {
    for item in items {
        let value = RemoteValue::Held { format: Format::Bytes, worker: THERE, length: 1 << 20, refs: Vec::new() };
        bench.hear(THERE, PeerBody::Yielded { item: *item, outcome: Ok(value) });
    }
}

fn returns(bench: &mut Bench, call: CallId, attempt: u32, outcome: Result<(), Failure>) {
    let count = || vec![RemoteValue::Inline { format: Format::Serde, bytes: vec![3].into(), refs: Vec::new() }];
    bench.hear(THERE, PeerBody::Done { call, attempt, outcome: outcome.map(|()| count()) });
}

/// The driver wants an item that cannot be read where it is.
fn lose(bench: &mut Bench, item: ObjectId) {
    bench.say(DRIVER, ToNode::Watch { objects: vec![item], fetch: true });
    bench.feed(Event::Fetched { job: JOB, object: item, outcome: Err("connection refused".to_owned()) });
}

#[test]
fn an_item_that_is_lost_after_the_end_is_yielded_again_and_no_other() {
    let mut bench = Bench::new();
    let (call, items) = stream_there(&mut bench, 3);
    come(&mut bench, &items);
    returns(&mut bench, call, 0, Ok(()));
    lose(&mut bench, items[1]);
    assert_eq!(attempts_there(&bench), [(0, vec![0, 1, 2]), (1, vec![1])]);
    come(&mut bench, &items[1..2]);
    returns(&mut bench, call, 1, Ok(()));
    let fetches = bench.acted.iter().filter(|action| matches!(action, Action::Fetch { .. })).count();
    assert_eq!((fetches, told(&bench, call).len()), (2, 4), "the driver was told of each item once, and of the end");
    bench.say(DRIVER, ToNode::Release(items.into_iter().chain([call.object(0)]).collect()));
    assert_eq!(bench.node.tasks(None).count(), 0);
}

#[test]
fn an_item_that_is_lost_before_the_end_starts_its_task_again() {
    let mut bench = Bench::new();
    let (call, items) = stream_there(&mut bench, 3);
    come(&mut bench, &items[..2]);
    lose(&mut bench, items[0]);
    assert!(bench.said().any(|body| *body == PeerBody::Cancel { call, force: false }));
    returns(&mut bench, call, 0, Err(Failure::new(FailureKind::Cancelled, "", "cancelled")));
    assert_eq!(attempts_there(&bench), [(0, vec![0, 1, 2]), (1, vec![0, 2])]);
    assert_eq!(bench.failure(call), None, "its end is not that of the stream");
}

#[test]
fn an_item_that_is_lost_when_its_task_has_failed_says_so() {
    let mut bench = Bench::new();
    let (call, items) = stream_there(&mut bench, 3);
    come(&mut bench, &items[..1]);
    returns(&mut bench, call, 0, Err(Failure::new(FailureKind::Returned, "pages", "no more pages")));
    lose(&mut bench, items[0]);
    let failure = bench.failure(CallId(items[0].0)).expect("it cannot be made again");
    assert_eq!(failure.kind, FailureKind::ObjectLost);
    assert!(failure.message.contains("cancelled or failed"), "{failure}");
}
