//! What streams of tasks and of actors have in common: their consumer and the process that yields.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId};

use crate::bench::Bench;

/// The consumer of a stream wants so many items more.
pub(crate) fn want(bench: &mut Bench, consumer: ExecutorId, call: CallId, count: usize) -> Vec<ObjectId> {
    let items: Vec<_> = (0..count).map(|_| bench.next_id(consumer).object(0)).collect();
    bench.say(consumer, ToNode::WantItems { call, items: items.clone() });
    items
}

/// The process that has the stream yields an item.
pub(crate) fn produce(bench: &mut Bench, call: CallId, index: u64) {
    let (executor, attempt) = last_attempt(bench, call);
    let value = Value::inline(Format::Bytes, index.to_le_bytes().to_vec());
    bench.say(executor, ToNode::Yield { call, attempt, index, value });
}

/// The stream ends there.
pub(crate) fn finish(bench: &mut Bench, call: CallId, outcome: Result<u64, Failure>) {
    let (executor, attempt) = last_attempt(bench, call);
    let outcome = outcome.map(|count| vec![Value::inline(Format::Bytes, count.to_le_bytes().to_vec())]);
    bench.say(executor, ToNode::Done { call, attempt, outcome });
}

/// What consumers were told of items and of what `call` returns, in order: `None` is that.
pub(crate) fn told(bench: &Bench, call: CallId) -> Vec<Option<ObjectId>> {
    let what = |message: &ToExecutor| match message {
        ToExecutor::Ready(objects) => objects.iter().copied().map(Some).collect(),
        ToExecutor::Value { object, .. } if *object == call.object(0) => vec![None],
        _ => Vec::new(),
    };
    bench.heard().flat_map(what).collect()
}

pub(crate) fn some(items: &[ObjectId]) -> Vec<Option<ObjectId>> {
    items.iter().copied().map(Some).collect()
}

/// Where a stream was sent last, and as which attempt.
fn last_attempt(bench: &Bench, call: CallId) -> (ExecutorId, u32) {
    let attempt = |(executor, message): (ExecutorId, &ToExecutor)| match message {
        ToExecutor::RunStream { run, .. } | ToExecutor::CallStream { run, .. } if run.call == call => {
            Some((executor, run.attempt))
        }
        _ => None,
    };
    bench.heard_by().filter_map(attempt).last().expect("it was sent")
}
