//! Who copies large objects from whom: those who want a copy ask the owner of the object, which gives turns.

use tandem_actor_protocol::peer::{CopyEnd, PeerBody};
use tandem_actor_protocol::{ObjectId, WorkerId, object_owner};

use super::{Object, Stored};
use crate::context::Context;
use crate::job::Job;

impl Job {
    /// Whether an object is copied by turns. Its owner, which knows of all who want it, can be asked, unless it is lost.
    pub(crate) fn takes_turns(&self, cx: &Context<'_>, object: ObjectId, bytes: u64) -> bool {
        let owner = object_owner(object);
        let can_be_asked = owner == self.worker || (self.peers.knows(owner) && !cx.shared.lost.contains(&owner));
        bytes >= cx.config.spread_bytes && can_be_asked
    }

    /// This worker wants a copy of an object that was said to be at another.
    pub(crate) fn want_copy(&mut self, cx: &mut Context<'_>, object: ObjectId, at: WorkerId) {
        let owner = object_owner(object);
        if owner == self.worker {
            self.copy_wanted(cx, owner, object, at);
        } else {
            self.send_peer(cx, owner, PeerBody::WantCopy { object, at });
        }
    }

    /// This worker copies an object no more from where its owner has said.
    pub(crate) fn end_copy(&mut self, cx: &mut Context<'_>, object: ObjectId, from: WorkerId, end: CopyEnd) {
        let owner = object_owner(object);
        if owner == self.worker {
            self.copy_ended(cx, owner, object, from, end);
        } else {
            self.send_peer(cx, owner, PeerBody::CopyEnded { object, from, end });
        }
    }

    /// A worker wants a copy of an object of this one.
    pub(crate) fn copy_wanted(&mut self, cx: &mut Context<'_>, by: WorkerId, object: ObjectId, at: WorkerId) {
        let stored = self.objects.get(&object).and_then(Object::stored);
        let here = stored.is_some_and(|stored| stored.is_large() && stored.is_here()).then_some(self.worker);
        let known = [here, stored.and_then(Stored::remote), Some(at)].into_iter().flatten();
        let known = known.filter(|worker| !cx.shared.lost.contains(worker));
        self.spreads.entry(object).or_default().want(by, known);
        self.give_turns(cx, object);
    }

    /// The turn of a worker is over.
    pub(crate) fn copy_ended(
        &mut self,
        cx: &mut Context<'_>,
        by: WorkerId,
        object: ObjectId,
        from: WorkerId,
        end: CopyEnd,
    ) {
        if self.spreads.get_mut(&object).is_some_and(|spread| spread.ended(by, from, end)) {
            self.give_turns(cx, object);
        }
    }

    fn give_turns(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        while let Some(turn) = self.spreads.get_mut(&object).and_then(|spread| spread.next(cx.config.copies_at_once)) {
            if turn.by == self.worker {
                self.turn_came(cx, object, turn.from);
            } else {
                self.send_peer(cx, turn.by, PeerBody::CopyFrom { object, from: turn.from });
            }
        }
        if self.spreads.get(&object).is_some_and(super::Spread::is_over) {
            self.spreads.remove(&object);
        }
    }

    /// A worker is lost, with its turns and the copies it had. Nor will it say whose turn it is.
    pub(crate) fn turns_of_lost(&mut self, cx: &mut Context<'_>, worker: WorkerId) {
        let concerned: Vec<ObjectId> = self.spreads.keys().copied().collect();
        for object in concerned {
            if let Some(spread) = self.spreads.get_mut(&object) {
                spread.lost(worker);
                self.give_turns(cx, object);
            }
        }
        let waiting =
            self.fetches.iter().filter(|(object, fetch)| object_owner(**object) == worker && fetch.waits_for_turn());
        let mut waiting: Vec<ObjectId> = waiting.map(|(object, _)| *object).collect();
        waiting.sort_unstable();
        waiting.into_iter().for_each(|object| self.turn_came(cx, object, None));
    }
}
