//! The streams of processes of this worker: tasks and calls of actors that yield items, each an object of its own, before they return
//! how many there were. Here they are owned; `host/streams.rs` is where they run.
//!
//! ```text
//!   item: Wanted ─yielded─► there ─its worker is lost─► Wanted ─ ─ ─► there
//!            └─the task ends─► Failed, and the consumer is not told: what the task returns says that there are no more
//! ```
//!
//! The consumer makes the id of each item before it may be yielded, so that the items that are wanted are the window of the producer, and
//! whoever yields one twice is known by its id. An attempt of a task yields what the one before it has not; a call of an actor that has
//! yielded something is not made again, see `actors/streams.rs`.
//! Invariant: each item is there at most once, in the order of their numbers as long as none is lost.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::call::TaskSpec;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, ProcessNumber, object_owner};

use super::submit::MAX_RETURNS;
use super::{TaskState, Wanted};
use crate::actors::CallState;
use crate::context::Context;
use crate::job::Job;
use crate::objects::{NO_INDEX, Object, ObjectState, Stored, Waiter};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// As long as their tasks or calls are known.
    by_call: FxHashMap<CallId, Stream>,
    /// Items that are wanted, or that only another worker has: those may be wanted again of a task. Each counts as one that is live of
    /// that.
    items: FxHashMap<ObjectId, (CallId, u64)>,
}

/// One stream.
#[derive(Debug)]
struct Stream {
    /// The process that takes its items.
    consumer: ExecutorId,
    wanted: Wanted,
    /// All items before this number were there at some time.
    yielded: u64,
    /// It starts again when its attempt has ended: that is past an item that is lost.
    restarts: bool,
    /// It has ended so after so many items, which are not all here.
    end: Option<(u64, Result<Vec<Stored>, Failure>)>,
}

impl Streams {
    /// A process is about to take the items of a new call.
    pub(crate) fn begin(&mut self, call: CallId, consumer: ExecutorId) {
        let stream = Stream { consumer, wanted: Wanted::default(), yielded: 0, restarts: false, end: None };
        self.by_call.insert(call, stream);
    }

    pub(crate) fn contains(&self, call: CallId) -> bool {
        self.by_call.contains_key(&call)
    }

    /// The items that are wanted of a stream.
    pub(crate) fn wanted(&self, call: CallId) -> Option<&Wanted> {
        self.by_call.get(&call).map(|stream| &stream.wanted)
    }

    /// How many of its items were there at some time.
    pub(crate) fn yielded(&self, call: CallId) -> u64 {
        self.by_call.get(&call).map_or(0, |stream| stream.yielded)
    }

    /// A call has ended after so many items, some of which are on their way here: it waits for them.
    pub(crate) fn ends_after(&mut self, call: CallId, yielded: u64, outcome: Result<Vec<Stored>, Failure>) {
        if let Some(stream) = self.by_call.get_mut(&call) {
            stream.end = Some((yielded, outcome));
        }
    }

    /// How a call has ended that waits for its items.
    pub(crate) fn take_end(&mut self, call: CallId) -> Option<(u64, Result<Vec<Stored>, Failure>)> {
        self.by_call.get_mut(&call)?.end.take()
    }

    /// The items that are wanted, for an attempt that is about to start.
    pub(crate) fn begin_attempt(&mut self, call: CallId) -> Option<&Wanted> {
        let stream = self.by_call.get_mut(&call)?;
        stream.restarts = false;
        Some(&stream.wanted)
    }

    pub(crate) fn takes_restart(&mut self, call: CallId) -> bool {
        self.by_call.get_mut(&call).is_some_and(|stream| std::mem::take(&mut stream.restarts))
    }

    pub(crate) fn forget(&mut self, call: CallId) {
        self.by_call.remove(&call);
    }

    /// The stream that an item is of, while it is wanted or may be again.
    pub(crate) fn stream_of(&self, item: ObjectId) -> Option<CallId> {
        self.items.get(&item).map(|(call, _)| *call)
    }
}

impl Job {
    /// A process submits a task that yields items.
    pub(crate) fn submit_stream(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        spec: TaskSpec,
        bundle: Option<BundleId>,
    ) {
        let call = spec.call;
        if spec.returns != 1 || !self.may_make(executor, call, 1) {
            return self.broke_protocol(cx, executor, &format!("{call} is not its to submit as a stream"));
        }
        self.streams.begin(call, executor);
        self.submit(cx, executor, spec, bundle);
        if !self.tasks.contains_key(&call) {
            self.streams.forget(call);
        }
    }

    /// The consumer of a stream makes room for more items. Those of one that has ended are nothing.
    pub(crate) fn want_items(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        items: Vec<ObjectId>,
    ) {
        let number = self.executors.get(&executor).and_then(|process| process.process);
        let own = |item: &ObjectId| {
            number == Some(ProcessNumber::of(*item))
                && object_owner(*item) == self.worker
                && !self.objects.contains_key(item)
        };
        if items.len() > MAX_RETURNS as usize || !items.iter().all(own) {
            return self.broke_protocol(cx, executor, &format!("these are no items of {call}"));
        }
        let runs = match self.tasks.get(&call) {
            Some(task) => task.state != TaskState::Finished,
            None => self.calls.contains_key(&call),
        };
        let consumes = self.streams.by_call.get(&call).is_some_and(|stream| stream.consumer == executor);
        if !runs || !consumes {
            return;
        }
        for item in &items {
            self.want_item(cx, executor, call, *item);
        }
        self.tell_wanted(cx, call, items);
    }

    fn want_item(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId, item: ObjectId) {
        if self.objects.contains_key(&item) {
            return self.broke_protocol(cx, executor, &format!("{item} is wanted twice"));
        }
        let Some(stream) = self.streams.by_call.get_mut(&call) else { return };
        let index = stream.wanted.push(item);
        if let Some(task) = self.tasks.get_mut(&call) {
            task.live += 1;
        }
        self.streams.items.insert(item, (call, index));
        self.objects.insert(item, Object::new(ObjectState::Pending, NO_INDEX));
        self.hold_by_process(cx, executor, item);
        self.wait_for(item, Waiter::Watch { executor, fetch: false });
    }

    /// Tells whoever runs a stream that it may go on.
    fn tell_wanted(&mut self, cx: &mut Context<'_>, call: CallId, items: Vec<ObjectId>) {
        let of_task = self.tasks.get(&call).and_then(|task| match task.state {
            TaskState::Placed { host, .. } => Some(host),
            TaskState::Waiting { .. } | TaskState::Queued | TaskState::Finished => None,
        });
        let of_call = || match self.calls.get(&call)?.state {
            CallState::Sent { host, .. } => Some(host),
            CallState::Waiting { .. } => None,
        };
        match of_task.or_else(of_call) {
            Some(host) if host == self.worker => self.let_yield(cx, call),
            Some(host) => self.send_peer(cx, host, PeerBody::WantItems { call, items }),
            None => {}
        }
    }

    /// Tells the process that runs a stream how far it may go.
    pub(crate) fn let_yield(&self, cx: &mut Context<'_>, call: CallId) {
        if let (Some(executor), Some(wanted)) = (self.process_of(call), self.wanted_of(call)) {
            cx.send(executor, ToExecutor::MayYield { call, until: wanted.until() });
        }
    }

    /// An item was yielded, here or elsewhere, or cannot be kept. One that is not wanted is dropped.
    pub(crate) fn item_came(&mut self, cx: &mut Context<'_>, item: ObjectId, outcome: Result<Stored, Failure>) {
        let known = self.streams.items.get(&item).copied();
        if let Some((call, index)) = known
            && let Some(stream) = self.streams.by_call.get_mut(&call)
            && stream.wanted.remove(index)
        {
            stream.yielded = stream.yielded.max(index + 1);
        }
        match outcome {
            Ok(stored) => self.result(cx, item, stored),
            Err(failure) => self.break_object(item, Arc::new(failure)),
        }
        let of_task = known.is_some_and(|(call, _)| self.tasks.contains_key(&call));
        let may_be_wanted = self.objects.get(&item).is_some_and(|record| match &record.state {
            ObjectState::Pending => true,
            ObjectState::Ready(stored) => of_task && !stored.is_at_hand(),
            ObjectState::Failed(_) => false,
        });
        if !may_be_wanted {
            self.forget_item(cx, item);
        }
    }

    /// An item is not wanted any more, or never will be again.
    pub(crate) fn forget_item(&mut self, cx: &mut Context<'_>, item: ObjectId) {
        let Some((call, index)) = self.streams.items.remove(&item) else { return };
        if let Some(stream) = self.streams.by_call.get_mut(&call) {
            stream.wanted.remove(index);
        }
        self.lineage_let_go(cx, call);
        if let Some((yielded, outcome)) = self.streams.take_end(call) {
            self.call_covered(cx, call, yielded, outcome);
        }
    }

    /// An item that was there is lost. Returns the task that can yield it again, which starts again if it is past it.
    pub(crate) fn item_lost(&mut self, cx: &mut Context<'_>, item: ObjectId) -> Option<CallId> {
        let (call, index) = *self.streams.items.get(&item)?;
        let (task, stream) = (self.tasks.get(&call)?, self.streams.by_call.get_mut(&call)?);
        stream.wanted.insert(index, item);
        if let TaskState::Placed { host, cancelled: false, .. } = task.state
            && !cx.shared.lost.contains(&host)
            && !std::mem::replace(&mut stream.restarts, true)
        {
            if host == self.worker {
                self.cancel_hosted(cx, call, false);
            } else {
                self.send_peer(cx, host, PeerBody::Cancel { call, force: false });
            }
        }
        Some(call)
    }

    /// A stream has ended, for now: what is wanted of it will not be there. Returns whether it may have to run again for an item.
    pub(crate) fn end_stream(&mut self, call: CallId, failure: Option<&Arc<Failure>>) -> bool {
        let Some(stream) = self.streams.by_call.get_mut(&call) else { return false };
        let (wanted, yielded) = (stream.wanted.take(), stream.yielded);
        for (index, item) in wanted {
            if index >= yielded {
                self.waiters.remove(&item);
            }
            self.streams.items.remove(&item);
            if let Some(task) = self.tasks.get_mut(&call) {
                task.live = task.live.saturating_sub(1);
            }
            self.break_object(item, failure.map_or_else(|| Arc::new(not_yielded()), Arc::clone));
        }
        let returned = u32::from(self.objects.contains_key(&call.object(0)));
        failure.is_none() && self.tasks.get(&call).is_some_and(|task| task.live > returned)
    }

    /// A process is gone: nobody takes the items of its streams.
    pub(crate) fn streams_of_gone(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let of_it = self.streams.by_call.iter().filter(|(_, stream)| stream.consumer == executor);
        let mut calls: Vec<CallId> = of_it.map(|(call, _)| *call).collect();
        calls.sort_unstable();
        calls.into_iter().for_each(|call| self.cancel_here(cx, call, true));
    }
}

/// Why an item that was lost has no value.
fn not_yielded() -> Failure {
    let message = "the worker that held the item was lost, and its task did not yield it when it ran again";
    Failure::new(FailureKind::ObjectLost, "", message)
}
