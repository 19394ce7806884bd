//! What a node shows of what it runs and has run.

use std::sync::Arc;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_node::views::{LiveCounts, TaskStateView};
use tandem_node::{Event, Tally};

use crate::bench::{Bench, DRIVER, JOB};

fn state(bench: &Bench, call: CallId) -> Option<TaskStateView> {
    bench.node.tasks(None).find(|task| task.call == call).map(|task| task.state)
}

fn begin(bench: &mut Bench, call: CallId) {
    bench.say(bench.at(call), ToNode::Began(call));
}

fn fail(bench: &mut Bench, call: CallId) {
    let outcome = Err(Failure::new(FailureKind::Returned, "", "no luck"));
    bench.say(bench.at(call), ToNode::Done { call, attempt: 0, outcome });
}

#[test]
fn a_task_is_seen_from_its_submission_to_after_its_job() {
    let mut bench = Bench::new();
    let (good, bad) = (bench.submit("area", Vec::new(), None), bench.submit("area", Vec::new(), None));
    begin(&mut bench, good);
    assert_eq!(state(&bench, good), Some(TaskStateView::Running));
    let counts = LiveCounts { running: 2, ..LiveCounts::default() };
    assert_eq!(bench.node.live_counts(Some(JOB)), [(JOB, Arc::from("area"), counts)]);
    begin(&mut bench, bad);
    bench.done(good);
    fail(&mut bench, bad);
    assert_eq!((state(&bench, good), state(&bench, bad)), (None, None));

    bench.feed(Event::JobGone { job: JOB });
    let (ended, forgotten) = bench.node.ended(Some(JOB));
    let ended: Vec<_> = ended.collect();
    assert_eq!((ended.len(), forgotten, ended[0].call, ended[1].call), (2, 0, good, bad));
    assert_eq!(ended[0].pid, Some(1));
    // The clock of these tests moves by a millisecond per event.
    assert_eq!(ended[0].began.map(|began| ended[0].ended.us_since(began)), Some(2_000));
    let failure = ended[1].failure.as_deref().expect("why it failed");
    assert_eq!(failure.0, FailureKind::Returned);
    assert!(failure.1.contains("no luck"), "{}", failure.1);
    let tally = Tally { finished: 1, failed: 1, run_us: 4_000, longest_us: 2_000 };
    assert_eq!(bench.node.tallies(None).collect::<Vec<_>>(), [(JOB, &Arc::from("area"), tally)]);
}

#[test]
fn a_task_that_never_began_is_seen_when_it_has_failed() {
    let mut bench = Bench::new();
    let tasks: Vec<CallId> = (0..200).map(|_| bench.submit("area", Vec::new(), None)).collect();
    let waits = *tasks.last().expect("a task");
    assert_eq!(state(&bench, waits), Some(TaskStateView::Pending));
    bench.say(DRIVER, ToNode::Cancel { call: waits, force: false });
    let (mut ended, _) = bench.node.ended(None);
    let ended = ended.next().expect("it has ended");
    assert_eq!((ended.call, ended.began, ended.pid), (waits, None, None));
}

#[test]
fn calls_of_an_actor_follow_each_other() {
    let mut bench = Bench::new();
    let actor = bench.spawn("Counter", 1);
    let (first, second) = (bench.call(DRIVER, actor, "add"), bench.call(DRIVER, actor, "add"));
    // It is not said which of them the process works on.
    assert_eq!(state(&bench, first), Some(TaskStateView::Sent));
    bench.done(first);
    assert_eq!(state(&bench, second), Some(TaskStateView::Running));
    bench.done(second);
    let ended: Vec<_> = bench.node.ended(None).0.collect();
    assert_eq!((ended.len(), ended[1].actor, &*ended[1].function), (2, Some(actor), "add"));
    assert_eq!(ended[1].began, Some(ended[0].ended));
}
