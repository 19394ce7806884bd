//! The items that tasks and calls of actors here yield, of this worker's own and of others.

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use super::{Phase, Source};
use crate::context::Context;
use crate::job::Job;
use crate::objects::Refused;
use crate::tasks::Wanted;

impl Job {
    /// The items that are wanted of a task or call that is here; none if it yields nothing.
    pub(crate) fn wanted_of(&self, call: CallId) -> Option<&Wanted> {
        let of_guest = match self.hosted.get(&call) {
            Some(hosted) => hosted.guest.as_deref().and_then(|guest| guest.wanted.as_deref()),
            None => self.hosted_calls.get(&call)?.wanted.as_deref(),
        };
        of_guest.or_else(|| self.streams.wanted(call))
    }

    /// The same, if it is wanted by another worker.
    fn wanted_of_guest(&mut self, call: CallId) -> Option<&mut Wanted> {
        match self.hosted.get_mut(&call) {
            Some(hosted) => hosted.guest.as_deref_mut().and_then(|guest| guest.wanted.as_deref_mut()),
            None => self.hosted_calls.get_mut(&call)?.wanted.as_deref_mut(),
        }
    }

    /// The worker that takes the items of what is here.
    fn taker_of(&self, call: CallId) -> Option<WorkerId> {
        match self.hosted.get(&call).map(|hosted| hosted.source) {
            Some(Source::Own) => Some(self.worker),
            Some(Source::Peer { worker, .. }) => Some(worker),
            Some(Source::Shell { .. } | Source::Nobody) => None,
            None => self.hosted_calls.get(&call)?.from,
        }
    }

    /// Whether a process is at this attempt.
    fn is_at(&self, executor: ExecutorId, call: CallId, attempt: u32) -> bool {
        match self.hosted.get(&call) {
            Some(hosted) => hosted.attempt == attempt && hosted.phase == Phase::Sent(executor),
            None => {
                let entry = self.hosted_calls.get(&call).filter(|entry| entry.attempt == attempt);
                entry.is_some() && self.process_of(call) == Some(executor)
            }
        }
    }

    /// A process yields an item.
    pub(crate) fn yielded(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        attempt: u32,
        index: u64,
        value: Value,
    ) {
        if !self.is_at(executor, call, attempt) {
            return;
        }
        let Some(wanted) = self.wanted_of(call).filter(|wanted| index < wanted.until()) else {
            return self.broke_protocol(cx, executor, &format!("item {index} of {call} was not to be yielded"));
        };
        // Its room is free again with the rest of the lease, as of all that is not taken.
        let (Some(item), Some(taker)) = (wanted.get(index), self.taker_of(call)) else { return };
        if taker == self.worker {
            match self.take_result(cx, value, Holder::Executor(executor)) {
                // Its task runs again, and yields the item then.
                Err(Refused::Broken(_)) => {}
                outcome => self.item_came(cx, item, outcome.map_err(Failure::from)),
            }
            return;
        }
        let outcome = self.keep_result(cx, taker, item, value, Holder::Executor(executor));
        if matches!(outcome, Err(Refused::Broken(_))) {
            return;
        }
        if let Some(wanted) = self.wanted_of_guest(call) {
            wanted.remove(index);
        }
        let outcome = outcome.map_err(Failure::from);
        self.send_fenced(cx, taker, PeerBody::Yielded { item, outcome });
    }

    /// The owner of a task or call that is here, or of a task that waits for its lease, wants more items.
    pub(crate) fn want_items_of_guest(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        items: Vec<ObjectId>,
    ) {
        if !self.hosted.contains_key(&call) && !self.hosted_calls.contains_key(&call) {
            return self.want_items_of_early(from, call, items);
        }
        if self.taker_of(call) != Some(from) {
            return;
        }
        if let Some(wanted) = self.wanted_of_guest(call) {
            items.into_iter().for_each(|item| _ = wanted.push(item));
            self.let_yield(cx, call);
        }
    }
}
