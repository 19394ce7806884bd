//! The items that tasks here yield, of this worker's own and of others.

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use super::{Hosted, Phase, Source};
use crate::context::Context;
use crate::job::Job;
use crate::objects::Refused;
use crate::tasks::Wanted;

impl Job {
    /// The items that are wanted of a task that is here; none if it yields nothing.
    pub(crate) fn wanted_of(&self, call: CallId) -> Option<&Wanted> {
        match self.hosted.get(&call)?.guest.as_deref() {
            Some(guest) => guest.wanted.as_deref(),
            None => self.streams.wanted(call),
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
        let current = |hosted: &&Hosted| hosted.attempt == attempt && hosted.phase == Phase::Sent(executor);
        let Some(source) = self.hosted.get(&call).filter(current).map(|hosted| hosted.source) else { return };
        let Some(wanted) = self.wanted_of(call).filter(|wanted| index < wanted.until()) else {
            return self.broke_protocol(cx, executor, &format!("item {index} of {call} was not to be yielded"));
        };
        // Its room is free again with the rest of the lease, as of all that is not taken.
        let Some(item) = wanted.get(index) else { return };
        match source {
            Source::Own => {
                match self.take_result(cx, value, Holder::Executor(executor)) {
                    // Its task runs again, and yields the item then.
                    Err(Refused::Broken(_)) => {}
                    outcome => self.item_came(cx, item, outcome.map_err(Failure::from)),
                }
            }
            Source::Peer { worker, .. } => {
                let outcome = self.keep_result(cx, worker, item, value, Holder::Executor(executor));
                if matches!(outcome, Err(Refused::Broken(_))) {
                    return;
                }
                let outcome = outcome.map_err(Failure::from);
                let guest = self.hosted.get_mut(&call).and_then(|hosted| hosted.guest.as_deref_mut());
                if let Some(wanted) = guest.and_then(|guest| guest.wanted.as_deref_mut()) {
                    wanted.remove(index);
                }
                self.send_fenced(cx, worker, PeerBody::Yielded { item, outcome });
            }
            Source::Shell { .. } | Source::Nobody => {}
        }
    }

    /// The owner of a task that is here, or waits for its lease, wants more items.
    pub(crate) fn want_items_of_guest(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        items: Vec<ObjectId>,
    ) {
        let of_owner = |source| matches!(source, Source::Peer { worker, .. } if worker == from);
        let Some(hosted) = self.hosted.get_mut(&call) else { return self.want_items_of_early(from, call, items) };
        let guest = hosted.guest.as_deref_mut().filter(|_| of_owner(hosted.source));
        if let Some(wanted) = guest.and_then(|guest| guest.wanted.as_deref_mut()) {
            items.into_iter().for_each(|item| _ = wanted.push(item));
            self.let_yield(cx, call);
        }
    }
}
