//! The states of actors, kept by their owners so that a restart goes on from there. One that comes from another worker counts as kept
//! when it is here; until then the one before is kept too, since that worker may be lost meanwhile.
//!
//! ```text
//!   newest ─the one before is here─► coming ─is here─► kept ─the next one is here─► dropped
//! ```

use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ActorId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, NO_INDEX, Object, ObjectState, Refused, Stored};

/// The states of one actor that this worker holds.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    kept: Option<ObjectId>,
    /// On its way here.
    coming: Option<ObjectId>,
    /// Comes after that.
    newest: Option<ObjectId>,
}

impl Checkpoints {
    /// All of them, the newest one first.
    fn all(&self) -> impl Iterator<Item = ObjectId> {
        [self.newest, self.coming, self.kept].into_iter().flatten()
    }
}

impl Job {
    /// A process has saved the state of its actor.
    pub(crate) fn checkpoint(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId, state: Value) {
        let Some(hosted) = self.hosted_actors.get(&actor).filter(|hosted| hosted.executor == Some(executor)) else {
            return;
        };
        let owner = hosted.owner;
        if cx.shared.lost.contains(&owner) {
            return;
        }
        let object = cx.new_objects(1);
        let stored = match self.take_value(Holder::Executor(executor), state) {
            Ok(stored) => stored,
            Err(Refused::Broken(why)) => return self.broke_protocol(cx, executor, &why),
            // The one before still holds.
            Err(Refused::Full(_)) => return,
        };
        let remote = stored.to_remote(self.worker);
        let mut record = Object::new(ObjectState::Pending, NO_INDEX);
        if owner != self.worker {
            // It is lent with the message that tells of it.
            record.borrowers.add(owner);
        }
        self.objects.insert(object, record);
        self.make_object(cx, object, stored);
        if owner == self.worker {
            self.hold_use(cx, object);
            self.keep_checkpoint(actor, object);
        } else {
            self.send_peer(cx, owner, PeerBody::Checkpoint { actor, object, state: remote });
        }
    }

    /// The host of an actor has its state.
    pub(crate) fn checkpoint_from_peer(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        actor: ActorId,
        object: ObjectId,
        state: RemoteValue,
    ) {
        let current =
            self.owned_actors.get(&actor).is_some_and(|owned| owned.state.at().is_some_and(|(host, _)| host == from));
        if !current {
            return self.send_peer(cx, from, PeerBody::Return(vec![object]));
        }
        self.object_entry(cx, object).borrowed = true;
        self.hold_use(cx, object);
        self.know_object(object, Stored::from_remote(state));
        if self.objects.get(&object).and_then(Object::stored).is_some_and(Stored::is_here) {
            return self.keep_checkpoint(actor, object);
        }
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        if owned.checkpoints.coming.is_some() {
            let before = owned.checkpoints.newest.replace(object);
            before.into_iter().for_each(|before| self.drop_use(before));
        } else {
            owned.checkpoints.coming = Some(object);
            // It is wanted just when that worker may be lost.
            self.fetch_for(cx, object, FetchWaiter::Checkpoint(actor));
        }
    }

    /// A state of an actor is here: those before it are not needed any more.
    fn keep_checkpoint(&mut self, actor: ActorId, object: ObjectId) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        let before =
            std::mem::replace(&mut owned.checkpoints, Checkpoints { kept: Some(object), ..Checkpoints::default() });
        before.all().for_each(|before| self.drop_use(before));
    }

    /// What was on its way here has come, or cannot be had. Then the one before is kept.
    pub(crate) fn checkpoint_came(&mut self, cx: &mut Context<'_>, actor: ActorId, object: ObjectId, here: bool) {
        let Some(owned) = self.owned_actors.get_mut(&actor) else { return };
        let Checkpoints { kept, coming, newest } = &mut owned.checkpoints;
        if *coming != Some(object) {
            return;
        }
        let dropped = if here { kept.replace(object) } else { Some(object) };
        *coming = newest.take();
        let next = *coming;
        dropped.into_iter().for_each(|dropped| self.drop_use(dropped));
        if let Some(next) = next {
            if self.objects.get(&next).and_then(Object::stored).is_some() {
                self.fetch_for(cx, next, FetchWaiter::Checkpoint(actor));
            } else {
                self.checkpoint_came(cx, actor, next, false);
            }
        }
    }

    /// The newest state of an actor that has a value.
    pub(crate) fn checkpoint_of(&self, checkpoints: &Checkpoints) -> Option<ObjectId> {
        checkpoints.all().find(|object| self.objects.get(object).and_then(Object::stored).is_some())
    }

    /// An actor will not be started again.
    pub(crate) fn drop_checkpoints(&mut self, checkpoints: &Checkpoints) {
        checkpoints.all().for_each(|object| self.drop_use(object));
    }
}
