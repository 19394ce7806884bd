//! Objects whose bytes are gone with another worker, or cannot be read there: had from others who have copies, made again from lineage, or
//! lost.

use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{ObjectId, WorkerId, object_owner};

use super::hold::owner_lost;
use super::{FetchWaiter, ObjectEvent, ObjectState};
use crate::context::Context;
use crate::job::Job;
use crate::tasks::MOST_REBUILDS;

impl Job {
    /// Another worker does not have the bytes of an object any more, or `reader` could not read them there.
    pub(crate) fn lost_at(
        &mut self,
        cx: &mut Context<'_>,
        object: ObjectId,
        worker: WorkerId,
        reader: Option<WorkerId>,
    ) {
        let Some(record) = self.objects.get_mut(&object) else { return };
        let Some(stored) = record.stored() else { return };
        if stored.remote() != Some(worker) {
            return;
        }
        let (keeper, refs) = (stored.keeper, stored.refs.clone());
        if record.state.apply(ObjectEvent::Lost).is_err() || record.state != ObjectState::Pending {
            return;
        }
        let (borrowed, held_refs) = (record.borrowed, std::mem::take(&mut record.holds_refs));
        if held_refs {
            refs.iter().for_each(|inner| self.drop_use(*inner));
        }
        if let Some(keeper) = keeper.filter(|keeper| !cx.shared.lost.contains(keeper)) {
            self.peers.dropping.entry(keeper).or_default().push(object);
        }
        if object_owner(object) == self.worker {
            self.make_again(cx, object, worker, reader);
        } else if borrowed {
            self.send_peer(cx, object_owner(object), PeerBody::Unreadable { object, worker });
        }
    }

    /// Runs again what made an object, if that is known and helps.
    fn make_again(&mut self, cx: &mut Context<'_>, object: ObjectId, worker: WorkerId, reader: Option<WorkerId>) {
        let call = self.objects.get(&object).and_then(|record| record.call(object));
        let is_item = self.streams.stream_of(object).is_some();
        let call = call.or_else(|| self.item_lost(cx, object));
        if let Some(reader) = reader
            && call.is_some_and(|call| !self.may_rebuild(call))
        {
            let why = format!("{reader} cannot read it from {worker}, and it was made again {MOST_REBUILDS} times");
            return self.break_object(object, Arc::new(Failure::new(FailureKind::ObjectLost, "", why)));
        }
        if call.is_some_and(|call| self.run_again(cx, call)) {
            return;
        }
        let why = if is_item {
            "the worker that held the item was lost, and its stream was cancelled or failed before: it cannot be yielded again"
        } else {
            "the worker that held the object was lost, and it cannot be made again"
        };
        self.break_object(object, Arc::new(Failure::new(FailureKind::ObjectLost, "", why)));
    }

    /// What was at a lost worker, or owned by it, is looked after.
    pub(crate) fn objects_of_lost(&mut self, cx: &mut Context<'_>, worker: WorkerId) {
        let mut concerned: Vec<ObjectId> = self.objects.keys().copied().collect();
        concerned.retain(|object| {
            let Some(record) = self.objects.get(object) else { return false };
            object_owner(*object) == worker
                || record
                    .stored()
                    .is_some_and(|stored| stored.remote() == Some(worker) || stored.keeper == Some(worker))
                || record.borrowers.has(worker)
        });
        concerned.sort_unstable();
        for object in concerned {
            if !self.is_saved(cx, object, worker) {
                self.lost_at(cx, object, worker, None);
            }
            self.forget_lost(object, worker);
        }
    }

    /// Whether an object that was at a lost worker may be had from others who copy it, and need not be given up before that was tried.
    fn is_saved(&mut self, cx: &mut Context<'_>, object: ObjectId, worker: WorkerId) -> bool {
        let was_there = |stored: &super::Stored| stored.remote() == Some(worker) && !stored.is_here();
        if !self.objects.get(&object).and_then(super::Object::stored).is_some_and(was_there) {
            return false;
        }
        if self.spreads.get(&object).is_some_and(|spread| spread.is_elsewhere(worker)) {
            self.fetch_for(cx, object, FetchWaiter::Keep);
            return true;
        }
        object_owner(object) != worker && self.fetches.get(&object).is_some_and(super::Fetch::is_by_turns)
    }

    fn forget_lost(&mut self, object: ObjectId, worker: WorkerId) {
        let Some(record) = self.objects.get_mut(&object) else { return };
        record.borrowers.forget(worker);
        if let ObjectState::Ready(stored) = &mut record.state
            && stored.keeper == Some(worker)
        {
            stored.keeper = None;
        }
        if object_owner(object) == worker {
            record.kept = false;
            record.borrowed = false;
            if record.stored().is_none_or(|stored| !stored.is_here()) {
                // Whoever has the bytes drops them now too.
                let _ = record.state.apply(ObjectEvent::Gone(Arc::new(owner_lost())));
                self.settled.push_back(object);
            }
        }
        self.let_go(object);
    }
}
