//! Actors that count their calls, make checkpoints and answer with the count; and who calls them.
//! Invariant: behind the end of each call, at once or behind later ones, a checkpoint comes or the word that none is needed.

use tandem_actor_protocol::call::{ActorCall, Arg, CallOptions};
use tandem_actor_protocol::executor::{Run, Start};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId};

use super::calls::{group, method_in};
use super::{Memory, Process, number_value};
use crate::counts::{Count, Does};

/// Calls that the driver makes.
const DRIVER_CALLS: usize = 40;
/// It takes items of an actor behind this one.
const STREAM_BEHIND: usize = 12;
/// The method that only reads.
const READ: &str = "r";
/// Actors that count.
pub(super) const COUNTERS: usize = 2;

/// An actor that counts.
#[derive(Debug)]
pub(super) struct Counter {
    actor: ActorId,
    count: u64,
    /// Calls since the last checkpoint that have changed it.
    unsaved: u64,
}

impl Process {
    /// Begins with the count that was saved.
    pub(super) fn start_counter(&mut self, memory: &Memory, start: &Start) {
        let count = start.checkpoint.as_ref().map_or(0, |saved| self.read(memory, saved));
        if let Some(Value { body: Body::Shared { object, .. }, .. }) = start.checkpoint {
            self.say(ToNode::Unpin(vec![object]));
        }
        self.counter = Some(Counter { actor: start.actor, count, unsaved: 0 });
        self.say(ToNode::NoCheckpoint { actor: start.actor, outcome: Ok(()) });
    }

    /// Counts a call, unless it only reads; some answers are large.
    pub(super) fn count(&mut self, memory: &mut Memory, run: Run) {
        let counter = self.counter.as_ref().expect("it counts");
        let (actor, changes) = (counter.actor, u64::from(run.function != READ));
        let count = counter.count + changes;
        let Some(value) = self.build(memory, count, self.kinds.large && run.call.0.is_multiple_of(4)) else {
            return self.runs.push_front(run);
        };
        let counter = self.counter.as_mut().expect("it counts");
        counter.count = count;
        counter.unsaved += changes;
        let unsaved = counter.unsaved;
        self.say(ToNode::Done { call: run.call, attempt: run.attempt, outcome: Ok(vec![value]) });
        self.unpin_run(&run);
        if unsaved == 0 {
            self.say(ToNode::NoCheckpoint { actor, outcome: Ok(()) });
        } else if self.runs.is_empty() || unsaved > (actor.0 % 4) as u64 {
            let large = self.kinds.large && run.call.0.is_multiple_of(3) && self.room.is_some();
            let state = self.build(memory, count, large).unwrap_or_else(|| number_value(count));
            self.say(ToNode::Checkpoint { actor, state });
            self.counter.as_mut().expect("it counts").unsaved = 0;
        }
        self.tidy();
    }

    /// An actor that counts says what covers all that has ended: also before it yields, since whoever takes the items may wait for that.
    pub(super) fn cover(&mut self) {
        let Some(counter) = &mut self.counter else { return };
        let (actor, count) = (counter.actor, counter.count);
        let covers = match std::mem::take(&mut counter.unsaved) {
            0 => ToNode::NoCheckpoint { actor, outcome: Ok(()) },
            _ => ToNode::Checkpoint { actor, state: number_value(count) },
        };
        self.say(covers);
    }

    /// A call has ended that has yielded items, and counts.
    pub(super) fn count_stream(&mut self) {
        if let Some(counter) = &mut self.counter {
            counter.count += 1;
            counter.unsaved += 1;
        }
        self.cover();
    }

    /// Calls one of the actors that count. False: this was done often enough.
    pub(super) fn call_counter(&mut self, index: usize) -> bool {
        let frame = self.frame.as_ref().expect("it runs");
        let most = match frame.run {
            None => DRIVER_CALLS,
            Some(_) if self.kinds.tasks_count => (frame.seed % 5) as usize,
            Some(_) => 0,
        };
        if index >= most || frame.counters.is_empty() {
            return false;
        }
        let actor = frame.counters[index % frame.counters.len()];
        let parent = frame.run.as_ref().map(|run| run.call);
        let mut args = Vec::new();
        if let (Some(put), true) = (frame.put, index.is_multiple_of(3)) {
            args.push(Arg::Object(put));
        }
        let group = (index % 5 == 4).then(group);
        let reads = group.is_none() && (frame.seed >> (index % 16)).is_multiple_of(3);
        let (in_group, does) = (group.is_some(), if reads { Does::Read } else { Does::Count });
        let method = if reads { READ.to_owned() } else { method_in(group.as_ref()) };
        let call = CallId(self.new_ids(1).0);
        let message = ActorCall { call, actor, method, args, returns: 1, parent };
        self.say(match group {
            Some(_) => ToNode::CallWith { call: message, options: CallOptions { group, stream: false } },
            None => ToNode::Call(message),
        });
        self.counted.push(Count::Made { actor, call, in_group, does });
        let frame = self.frame.as_mut().expect("it runs");
        frame.counting.push(call.object(0));
        if index == frame.run.as_ref().map_or(STREAM_BEHIND, |_| 0) {
            self.begin_actor_stream(actor);
        }
        true
    }

    /// The answer to one of these calls is here.
    pub(super) fn counted(&mut self, object: ObjectId, number: Option<u64>) {
        let counts = self.frame.as_ref().is_some_and(|frame| frame.counting.contains(&object));
        if let Some(number) = number.filter(|_| counts) {
            self.counted.push(Count::Got { call: CallId(object.0), number });
        }
    }
}
