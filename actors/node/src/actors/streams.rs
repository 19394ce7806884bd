//! Calls of methods that yield items. What is said of the streams of tasks holds for them but for this: an actor is not what it was when it
//! is called again, so what it yields then need not follow what it has yielded before.
//!
//! ```text
//!   nothing is yielded ─the actor is lost─► made again, if its calls are
//!   some items are     ─the actor is lost─► failed
//!   an item is lost with its worker       ─► that item has no value
//! ```
//!
//! Items go to the caller at once, also from an actor whose results are held: what was taken cannot be taken back. Only the end is held. It
//! comes by way of the owner of the actor, with the number of items, and waits for those that are on their way from the actor itself.

use tandem_actor_protocol::call::{ActorCall, CallOptions};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::RemoteValue;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, WorkerId};

use crate::context::Context;
use crate::job::Job;
use crate::tasks::Wanted;

impl Job {
    /// A process calls a method that is in a group or yields items.
    pub(crate) fn call_with(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: ActorCall,
        options: CallOptions,
    ) {
        let CallOptions { group, stream } = options;
        if !stream {
            return self.call(cx, executor, call, group);
        }
        let id = call.call;
        if call.returns != 1 || !self.may_make(executor, id, 1) {
            return self.broke_protocol(cx, executor, &format!("{id} is not its to make as a stream"));
        }
        self.streams.begin(id, executor);
        self.call(cx, executor, call, group);
        if !self.calls.contains_key(&id) {
            self.streams.forget(id);
        }
    }

    /// The items that a call may yield before it is told of more; none if it yields nothing. Nothing is yielded of one that is sent.
    pub(super) fn first_items(&self, call: CallId) -> Option<Vec<ObjectId>> {
        let items = self.streams.wanted(call)?.items();
        Some(items.into_iter().map(|(_, item)| item).collect())
    }

    /// Another worker has an item. One of a call that was made again elsewhere is no item of it.
    pub(crate) fn item_came_from(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        item: ObjectId,
        outcome: Result<RemoteValue, Failure>,
    ) {
        let outcome = outcome.map(|value| self.stored_result(from, value));
        let call = self.streams.stream_of(item).and_then(|call| self.calls.get(&call));
        if call.is_some_and(|entry| !entry.state.is_at(from)) {
            return self.drop_results(CallId(item.0), outcome.map(|stored| vec![stored]));
        }
        self.item_came(cx, item, outcome);
    }

    /// A call has ended for good after so many items: those that are not here by now were lost with its worker.
    pub(super) fn items_never_came(&mut self, cx: &mut Context<'_>, call: CallId, yielded: u64) {
        let items = self.streams.wanted(call).map(Wanted::items).unwrap_or_default();
        for (_, item) in items.into_iter().filter(|(index, _)| *index < yielded) {
            let why = "the worker that held the item was lost before it was here";
            self.item_came(cx, item, Err(Failure::new(FailureKind::ObjectLost, "", why)));
        }
    }
}

/// Why a call is not made again that has yielded items.
pub(super) fn cut_short(yielded: u64, why: Failure) -> Failure {
    let message = format!(
        "its items end after {yielded}: what the actor would yield if it were called again need not follow them; {}",
        why.message
    );
    Failure { kind: FailureKind::ActorGone, message, ..why }
}
