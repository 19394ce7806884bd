//! Checkpoints of actors, kept by their owners so that a restart goes on from there: the state of the actor, and with it how the calls
//! have ended that it covers. A checkpoint is kept whole, when all that belongs to it is here, or not at all; only then are the callers
//! told. So what anyone has seen of an actor is never undone, and what is undone nobody has seen, so that it can be done again.
//!
//! ```text
//!   coming, in their order ─all of it is here─► kept, its callers are told ─the next one is kept─► dropped
//!             └─────────cannot be had─────────► refused: the actor goes on from the one before
//! ```
//!
//! Invariants: what a caller hears of its calls, and after that of another place of the actor, comes from the owner in this order;
//! an actor does not start again as long as checkpoints of its last start are coming.

use std::collections::{BTreeMap, VecDeque};

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue, Reply};
use tandem_actor_protocol::{ActorId, CallId, ObjectId, WorkerId};

use super::OwnedState;
use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, Object, Stored};

/// What is kept of one actor.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    /// Its state.
    kept: Option<ObjectId>,
    /// The start of it of which no checkpoint is kept any more.
    refused: Option<u32>,
}

impl Checkpoints {
    /// Whether this start of the actor is to end, since the next one would not go on from where it is.
    pub(super) fn gives_up(&self, attempt: u32) -> bool {
        self.refused == Some(attempt)
    }
}

/// A checkpoint on its way here. Its objects are held.
#[derive(Debug)]
pub(crate) struct Coming {
    host: WorkerId,
    attempt: u32,
    /// None: as before.
    state: Option<ObjectId>,
    replies: Vec<Reply>,
    /// Objects that are being fetched.
    missing: usize,
}

impl Coming {
    pub(crate) fn new(host: WorkerId, attempt: u32, state: Option<ObjectId>, replies: Vec<Reply>) -> Self {
        Self { host, attempt, state, replies, missing: 0 }
    }

    fn objects(&self) -> Vec<ObjectId> {
        self.state.into_iter().chain(objects_of_replies(&self.replies)).collect()
    }
}

/// What is held of replies beside their messages.
pub(super) fn objects_of_replies(replies: &[Reply]) -> impl Iterator<Item = ObjectId> {
    replies.iter().flat_map(|reply| reply.outcome.iter().flatten()).filter_map(|value| value.object)
}

impl Job {
    /// The host of an actor has a checkpoint of it.
    pub(crate) fn checkpoint_from_peer(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        actor: ActorId,
        attempt: u32,
        state: Option<(ObjectId, RemoteValue)>,
        replies: Vec<Reply>,
    ) {
        let values = replies.iter().flat_map(|reply| reply.outcome.iter().flatten());
        let values = values.filter_map(|value| value.object.map(|object| (object, value.value.clone())));
        for (object, value) in state.iter().cloned().chain(values) {
            // It was lent with the message.
            self.object_entry(cx, object).borrowed = true;
            self.hold_use(cx, object);
            self.know_object(object, Stored::from_remote(value));
        }
        let state = state.map(|(object, _)| object);
        self.take_checkpoint(cx, actor, Coming::new(from, attempt, state, replies));
    }

    /// A checkpoint comes behind those that are coming.
    pub(super) fn take_checkpoint(&mut self, cx: &mut Context<'_>, actor: ActorId, coming: Coming) {
        let owned = self.owned_actors.get(&actor);
        if owned.is_some_and(|owned| owned.checkpoints.gives_up(coming.attempt)) {
            let why = Failure::new(FailureKind::ObjectLost, "", "the checkpoint before could not be kept");
            return self.refuse_checkpoint(cx, actor, coming, &why);
        }
        let queue = self.checkpoints_coming.entry(actor).or_default();
        queue.push_back(coming);
        if queue.len() == 1 {
            self.bring_checkpoints(cx, actor);
        }
    }

    /// Keeps what is here, and fetches what belongs to the next one.
    fn bring_checkpoints(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        while let Some(next) = self.checkpoints_coming.get_mut(&actor).and_then(VecDeque::front_mut) {
            let mut away = next.objects();
            let stored = |object: &ObjectId| self.objects.get(object).and_then(Object::stored);
            if away.iter().any(|object| stored(object).is_none()) {
                let why = Failure::new(FailureKind::ObjectLost, "", "a part of it is gone from shared memory");
                return self.checkpoint_lost(cx, actor, &why);
            }
            away.retain(|object| !stored(object).is_some_and(Stored::is_here));
            if !away.is_empty() {
                next.missing = away.len();
                // It is wanted just when that worker may be lost.
                return away.into_iter().for_each(|object| self.fetch_for(cx, object, FetchWaiter::Checkpoint(actor)));
            }
            if let Some(whole) = self.checkpoints_coming.get_mut(&actor).and_then(VecDeque::pop_front) {
                self.keep_checkpoint(cx, actor, whole);
            }
        }
        self.no_more_checkpoints(cx, actor);
    }

    /// An actor that waits to be started again knows now from where.
    fn no_more_checkpoints(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        if self.checkpoints_coming.remove(&actor).is_some() {
            self.actor_argument_settled(cx, actor, None);
        }
    }

    /// A part of a checkpoint has come, or cannot be had.
    pub(crate) fn checkpoint_came(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        object: ObjectId,
        outcome: Result<(), Failure>,
    ) {
        let next = self.checkpoints_coming.get_mut(&actor).and_then(VecDeque::front_mut);
        let Some(next) = next.filter(|next| next.objects().contains(&object)) else { return };
        if let Err(why) = outcome {
            return self.checkpoint_lost(cx, actor, &why);
        }
        next.missing = next.missing.saturating_sub(1);
        if next.missing == 0 {
            self.bring_checkpoints(cx, actor);
        }
    }

    /// All of a checkpoint is here: the actor goes on from there, and callers may see what it covers.
    fn keep_checkpoint(&mut self, cx: &mut Context<'_>, actor: ActorId, whole: Coming) {
        let Coming { host, attempt, state, replies, .. } = whole;
        let owned = self.owned_actors.get_mut(&actor).filter(|owned| !matches!(owned.state, OwnedState::Gone(_)));
        let dropped = match (owned, state) {
            (Some(owned), Some(state)) => owned.checkpoints.kept.replace(state),
            (None, state) => state,
            (Some(_), None) => None,
        };
        dropped.into_iter().for_each(|dropped| self.drop_use(dropped));
        for reply in replies {
            let (call, caller, yielded) = (reply.call, reply.call.owner(), reply.yielded);
            if caller == self.worker {
                let outcome = self.reply_values(cx, reply);
                self.call_covered(cx, call, yielded, outcome);
            } else {
                let outcome = self.reply_for(cx, caller, reply);
                self.send_fenced(cx, caller, PeerBody::Covered { call, yielded, outcome });
            }
        }
        self.tell_kept(cx, host, actor, attempt, Ok(()));
    }

    fn tell_kept(
        &mut self,
        cx: &mut Context<'_>,
        host: WorkerId,
        actor: ActorId,
        attempt: u32,
        outcome: Result<(), Failure>,
    ) {
        if host == self.worker {
            self.checkpoint_kept(cx, actor, attempt, outcome);
        } else {
            self.send_peer(cx, host, PeerBody::Kept { actor, attempt, outcome });
        }
    }

    /// The next checkpoint cannot be had. Later ones have in their state what it covers, and so its calls would be made twice.
    fn checkpoint_lost(&mut self, cx: &mut Context<'_>, actor: ActorId, why: &Failure) {
        let Some(queue) = self.checkpoints_coming.get_mut(&actor) else { return };
        let covers = queue.front().is_some_and(|next| !next.replies.is_empty());
        let lost = if covers { queue.drain(..).collect() } else { Vec::from_iter(queue.pop_front()) };
        if let (true, Some(owned)) = (covers, self.owned_actors.get_mut(&actor)) {
            owned.checkpoints.refused = lost.first().map(|coming| coming.attempt);
            self.actor_moved(cx, actor);
        }
        for coming in lost {
            self.refuse_checkpoint(cx, actor, coming, why);
        }
        self.bring_checkpoints(cx, actor);
    }

    fn refuse_checkpoint(&mut self, cx: &mut Context<'_>, actor: ActorId, coming: Coming, why: &Failure) {
        coming.objects().into_iter().for_each(|object| self.drop_use(object));
        let mut callers: BTreeMap<WorkerId, Vec<CallId>> = BTreeMap::new();
        for reply in &coming.replies {
            callers.entry(reply.call.owner()).or_default().push(reply.call);
        }
        for (caller, calls) in callers {
            if caller == self.worker {
                self.calls_uncovered(cx, coming.host, &calls);
            } else {
                self.send_fenced(cx, caller, PeerBody::Uncovered { host: coming.host, calls });
            }
        }
        self.tell_kept(cx, coming.host, actor, coming.attempt, Err(why.clone()));
    }

    /// What was coming from a lost worker never comes. Who called there knows that it is lost.
    pub(crate) fn checkpoints_of_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let of_lost = |queue: &VecDeque<Coming>| queue.front().is_some_and(|next| next.host == lost);
        let actors = self.checkpoints_coming.iter().filter(|(_, queue)| of_lost(queue));
        for actor in actors.map(|(actor, _)| *actor).collect::<Vec<_>>() {
            for coming in self.checkpoints_coming.get_mut(&actor).map(std::mem::take).unwrap_or_default() {
                coming.objects().into_iter().for_each(|object| self.drop_use(object));
            }
            self.no_more_checkpoints(cx, actor);
        }
    }

    /// The state that an actor goes on from.
    pub(crate) fn checkpoint_of(&self, checkpoints: &Checkpoints) -> Option<ObjectId> {
        checkpoints.kept.filter(|object| self.objects.get(object).and_then(Object::stored).is_some())
    }

    /// An actor will not be started again.
    pub(crate) fn drop_checkpoints(&mut self, checkpoints: &Checkpoints) {
        checkpoints.kept.into_iter().for_each(|object| self.drop_use(object));
    }
}
