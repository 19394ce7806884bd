//! The states of actors, kept by their owners so that a restart goes on from there.

use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ActorId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, NO_INDEX, Object, ObjectState, Refused, Stored};

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
            self.replace_checkpoint(actor, object);
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
        if !self.objects.get(&object).and_then(Object::stored).is_some_and(Stored::is_at_hand) {
            // It is wanted just when that worker may be lost.
            self.fetch_for(cx, object, FetchWaiter::Keep);
        }
        self.replace_checkpoint(actor, object);
    }

    fn replace_checkpoint(&mut self, actor: ActorId, object: ObjectId) {
        let before = self.owned_actors.get_mut(&actor).and_then(|owned| owned.checkpoint.replace(object));
        if let Some(before) = before {
            self.drop_use(before);
        }
    }
}
