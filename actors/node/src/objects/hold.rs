//! Who holds an object here, and what happens when the last one lets go.

use std::mem;
use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, object_owner};
use tandem_arena::Holder;

use super::{Object, ObjectEvent, ObjectState};
use crate::actors::started;
use crate::context::Context;
use crate::job::Job;

/// Objects that no call of this worker makes.
pub(crate) const NO_INDEX: u32 = u32::MAX;

impl Job {
    /// The record of an object that someone here names. One that this worker should own but does not know is lost, unless it is that of
    /// an actor.
    pub(crate) fn object_entry(&mut self, cx: &Context<'_>, object: ObjectId) -> &mut Object {
        let Self { objects, owned_actors, proxies, worker, .. } = self;
        objects.entry(object).or_insert_with(|| {
            if object_owner(object) != *worker {
                return Object::new(ObjectState::Pending, NO_INDEX);
            }
            match started(cx, owned_actors, proxies, object) {
                Some(state) => Object::new(state, 0),
                None => Object::new(ObjectState::Failed(Arc::new(gone())), NO_INDEX),
            }
        })
    }

    /// A process holds it, however often it says so.
    pub(crate) fn hold_by_process(&mut self, cx: &mut Context<'_>, executor: ExecutorId, object: ObjectId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        if process.held.insert(object) {
            self.object_entry(cx, object).processes += 1;
            self.borrow(cx, object);
        }
    }

    /// A process holds it no more.
    pub(crate) fn release_by_process(&mut self, executor: ExecutorId, object: ObjectId) {
        let held = self.executors.get_mut(&executor).is_some_and(|process| process.held.remove(&object));
        if held {
            self.process_let_go(object);
        }
    }

    /// A process that held it is gone or has released it.
    pub(crate) fn process_let_go(&mut self, object: ObjectId) {
        if let Some(record) = self.objects.get_mut(&object) {
            record.processes = record.processes.saturating_sub(1);
            self.let_go(object);
        }
    }

    /// Something that this worker owns names it.
    pub(crate) fn hold_use(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        self.object_entry(cx, object).uses += 1;
        self.borrow(cx, object);
    }

    /// Something that this worker owns names it no more.
    pub(crate) fn drop_use(&mut self, object: ObjectId) {
        if let Some(record) = self.objects.get_mut(&object) {
            record.uses = record.uses.saturating_sub(1);
            self.let_go(object);
        }
    }

    /// Something that is hosted here names it no more.
    pub(crate) fn drop_guest(&mut self, object: ObjectId) {
        if let Some(record) = self.objects.get_mut(&object) {
            record.guests = record.guests.saturating_sub(1);
            self.let_go(object);
        }
    }

    /// Looks at it again when everything else of this event is done, if nobody of this worker holds it now.
    pub(crate) fn let_go(&mut self, object: ObjectId) {
        if self.objects.get(&object).is_some_and(|record| !record.is_ours()) {
            self.freeing.push(object);
        }
    }

    /// Has its owner know that it is held here, if that is another worker.
    fn borrow(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        let owner = object_owner(object);
        if owner == self.worker {
            return;
        }
        let record = self.object_entry(cx, object);
        if record.borrowed {
            return;
        }
        if cx.shared.lost.contains(&owner) {
            self.break_object(object, Arc::new(owner_lost()));
            return;
        }
        record.borrowed = true;
        self.peers.borrowing.entry(owner).or_default().push(object);
    }

    /// Drops what nobody holds any more, and what only that held. Not by recursion: lineage may be long.
    pub(crate) fn free_unheld(&mut self, cx: &mut Context<'_>) {
        while let Some(object) = self.freeing.pop() {
            let Some(record) = self.objects.get_mut(&object) else { continue };
            if !record.is_ours() && mem::take(&mut record.borrowed) {
                self.peers.returning.entry(object_owner(object)).or_default().push(object);
            }
            if !record.is_held()
                && let Some(record) = self.objects.remove(&object)
            {
                self.free_object(cx, object, record);
            }
        }
    }

    fn free_object(&mut self, cx: &mut Context<'_>, object: ObjectId, record: Object) {
        self.waiters.remove(&object);
        if let ObjectState::Ready(stored) = record.state {
            if let Some(name) = stored.name() {
                self.spill.unnamed(name, object);
                self.unpin(Holder::Worker, name);
            }
            if let Some(file) = stored.file() {
                self.let_go_file(cx, file);
            }
            if let Some(keeper) = stored.keeper {
                self.peers.dropping.entry(keeper).or_default().push(object);
            }
            if record.holds_refs {
                stored.refs.iter().for_each(|inner| self.drop_use(*inner));
            }
        }
        self.forget_item(cx, object);
        if record.index != NO_INDEX {
            self.lineage_let_go(cx, CallId(object.0 - u128::from(record.index)));
        }
    }

    /// An object of this worker, or one kept here for another, has a value now, and holds what that names. What waits for it goes
    /// on when everything else of this event is done.
    pub(crate) fn make_object(&mut self, cx: &mut Context<'_>, object: ObjectId, stored: super::Stored) {
        stored.refs.iter().for_each(|inner| self.hold_use(cx, *inner));
        let refs = stored.refs.clone();
        if self.know_object(object, stored) {
            self.object_entry(cx, object).holds_refs = true;
        } else {
            refs.iter().for_each(|inner| self.drop_use(*inner));
        }
    }

    /// Another worker says what the value of an object is. False: that is known already, or nobody wants to know.
    pub(crate) fn know_object(&mut self, object: ObjectId, stored: super::Stored) -> bool {
        let name = stored.name();
        if let Some(record) = self.objects.get_mut(&object)
            && record.state.apply(ObjectEvent::Made(Box::new(stored))).is_ok()
        {
            self.settled.push_back(object);
            if let Some(name) = name {
                self.spill.named(name, object);
            }
            return true;
        }
        false
    }

    /// An object will never have a value.
    pub(crate) fn break_object(&mut self, object: ObjectId, why: Arc<Failure>) {
        if let Some(record) = self.objects.get_mut(&object)
            && record.state.apply(ObjectEvent::Broke(why)).is_ok()
        {
            self.settled.push_back(object);
        }
    }

    /// The owner keeps something of this object until it tells this worker to drop it.
    pub(crate) fn drop_kept(&mut self, objects: Vec<ObjectId>) {
        for object in objects {
            if let Some(record) = self.objects.get_mut(&object) {
                record.kept = false;
                self.let_go(object);
            }
        }
    }

    /// Sends what has come together for other workers about objects.
    pub(crate) fn flush_objects(&mut self, cx: &mut Context<'_>) {
        for (owner, objects) in mem::take(&mut self.peers.returning) {
            self.send_fenced(cx, owner, PeerBody::Return(objects));
        }
        for (keeper, objects) in mem::take(&mut self.peers.dropping) {
            self.send_fenced(cx, keeper, PeerBody::Drop(objects));
        }
    }
}

/// Why an object that should be here has no value.
fn gone() -> Failure {
    Failure::new(FailureKind::ObjectLost, "", "the object is gone: nobody held it any more")
}

/// Why an object of a lost worker has no value.
pub(crate) fn owner_lost() -> Failure {
    Failure::new(FailureKind::WorkerLost, "", "the worker that owned the object was lost")
}
