//! What calls of an actor have returned that lives here and makes checkpoints, until one covers it. If calls are made again after a loss,
//! nobody may see before what would be undone by it.
//!
//! ```text
//!   open ─checkpoint─► next ─the one before is kept─► on its way to the owner of the actor, which tells the callers
//!    └──the process is lost: not seen, so made again
//! ```
//!
//! One checkpoint at a time is on its way, and what comes meanwhile goes with the next one.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue, Reply, ReplyValue};
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use super::checkpoint::{Coming, objects_of_replies};
use super::{HostedActor, HostedCall, HostedState};
use crate::context::Context;
use crate::executors::Fate;
use crate::job::Job;
use crate::objects::{NO_INDEX, Object, ObjectState, Refused, Stored};
use crate::tasks::keeps;

/// The checkpoints that an actor makes here.
#[derive(Debug, Default)]
pub(crate) struct Saving {
    /// What its calls return is held until one covers it.
    holds: bool,
    open: Vec<Held>,
    next: Next,
    /// Calls that the checkpoint covers that is on its way, if one is.
    sent: Option<usize>,
}

/// The checkpoint that goes next, if there is anything in it.
#[derive(Debug, Default)]
struct Next {
    state: Option<(ObjectId, RemoteValue)>,
    replies: Vec<Held>,
}

/// How a call has ended. The objects of its values are held.
#[derive(Debug)]
struct Held {
    attempt: u32,
    reply: Reply,
}

impl Saving {
    /// Calls whose callers have no answer yet.
    pub(super) fn unanswered(&self) -> usize {
        self.open.len() + self.next.replies.len() + self.sent.unwrap_or(0)
    }
}

impl Next {
    fn is_empty(&self) -> bool {
        self.state.is_none() && self.replies.is_empty()
    }
}

impl HostedActor {
    /// Whether its calls are made again if it is lost now.
    pub(super) fn is_retried(&self) -> bool {
        self.spec.options.retry_calls && self.attempt < self.spec.options.max_restarts
    }
}

impl Job {
    /// A process says that no checkpoint comes behind the calls of its actor up to now. Said before the actor is there, it makes some.
    pub(crate) fn no_checkpoint(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        actor: ActorId,
        outcome: Result<(), Failure>,
    ) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor).filter(|hosted| hosted.executor == Some(executor)) else {
            return;
        };
        if cx.shared.lost.contains(&hosted.owner) {
            // The actor ends, and with it all is answered.
            return;
        }
        if hosted.state == HostedState::Constructing && hosted.is_retried() {
            hosted.saving.holds = true;
        }
        match outcome {
            Ok(()) => self.cover(cx, actor, None),
            Err(why) => self.open_fails(cx, actor, &why),
        }
    }

    /// A process has saved the state of its actor.
    pub(crate) fn checkpoint(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId, state: Value) {
        let Some(hosted) = self.hosted_actors.get(&actor).filter(|hosted| hosted.executor == Some(executor)) else {
            return;
        };
        if cx.shared.lost.contains(&hosted.owner) {
            return;
        }
        match self.take_value(Holder::Executor(executor), state) {
            Ok(stored) => {
                let state = self.hold_stored(cx, stored);
                self.cover(cx, actor, Some(state));
            }
            Err(Refused::Broken(why)) => self.broke_protocol(cx, executor, &why),
            // The one before still holds.
            Err(Refused::Full(why)) => {
                self.open_fails(cx, actor, &Failure::new(FailureKind::StoreFull, "", why));
            }
        }
    }

    /// Keeps a value under a name of its own, held once.
    fn hold_stored(&mut self, cx: &mut Context<'_>, stored: Stored) -> (ObjectId, RemoteValue) {
        let (object, value) = (cx.new_objects(1), stored.to_remote(self.worker));
        self.objects.insert(object, Object::new(ObjectState::Pending, NO_INDEX));
        self.hold_use(cx, object);
        self.make_object(cx, object, stored);
        (object, value)
    }

    /// Whether what calls of an actor return may not be seen yet.
    pub(super) fn holds_replies(&self, actor: ActorId) -> bool {
        self.hosted_actors.get(&actor).is_some_and(|hosted| hosted.saving.holds)
    }

    /// A call of such an actor has ended.
    pub(super) fn hold_reply(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        entry: &HostedCall,
        outcome: Result<Vec<Value>, Failure>,
    ) {
        let mut held = Vec::new();
        let outcome = outcome.and_then(|values| {
            values.into_iter().try_for_each(|value| {
                held.push(self.hold_value(cx, executor, value)?);
                Ok(())
            })
        });
        let yielded = entry.wanted.as_ref().map_or(0, |wanted| wanted.first());
        let mut reply = Reply { call, yielded, outcome: Ok(held) };
        if let Err(failure) = outcome {
            self.let_go_reply(&reply);
            reply.outcome = Err(failure);
        }
        if let Some(hosted) = self.hosted_actors.get_mut(&entry.actor) {
            hosted.saving.open.push(Held { attempt: entry.attempt, reply });
        }
    }

    fn hold_value(&mut self, cx: &mut Context<'_>, executor: ExecutorId, value: Value) -> Result<ReplyValue, Failure> {
        match value.body {
            Body::Inline { format, bytes } if value.refs.is_empty() => {
                Ok(ReplyValue { object: None, value: RemoteValue::Inline { format, bytes, refs: Vec::new() } })
            }
            _ => {
                let stored = self.take_result(cx, value, Holder::Executor(executor))?;
                let (object, value) = self.hold_stored(cx, stored);
                Ok(ReplyValue { object: Some(object), value })
            }
        }
    }

    fn let_go_reply(&mut self, reply: &Reply) {
        objects_of_replies(std::slice::from_ref(reply)).for_each(|object| self.drop_use(object));
    }

    /// What has ended up to now belongs to the next checkpoint, with this state or that of the one before.
    fn cover(&mut self, cx: &mut Context<'_>, actor: ActorId, state: Option<(ObjectId, RemoteValue)>) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        let Saving { open, next, .. } = &mut hosted.saving;
        next.replies.append(open);
        let before = if state.is_some() { std::mem::replace(&mut next.state, state) } else { None };
        before.into_iter().for_each(|(before, _)| self.drop_use(before));
        self.send_checkpoint(cx, actor);
    }

    /// Sends the next checkpoint, unless one is on its way.
    fn send_checkpoint(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        if hosted.saving.sent.is_some() || hosted.saving.next.is_empty() {
            return;
        }
        let next = std::mem::take(&mut hosted.saving.next);
        hosted.saving.sent = Some(next.replies.len());
        let (owner, attempt) = (hosted.owner, hosted.attempt);
        self.give_checkpoint(cx, owner, actor, attempt, next);
    }

    fn give_checkpoint(&mut self, cx: &mut Context<'_>, owner: WorkerId, actor: ActorId, attempt: u32, next: Next) {
        let Next { state, replies } = next;
        let calls = replies.iter().map(|held| (held.reply.call, held.attempt)).collect();
        self.checkpoints_sent.entry((actor, attempt)).or_default().push_back(calls);
        let replies: Vec<Reply> = replies.into_iter().map(|held| held.reply).collect();
        let state_object = state.as_ref().map(|(object, _)| *object);
        if owner == self.worker {
            return self.take_checkpoint(cx, actor, Coming::new(owner, attempt, state_object, replies));
        }
        let objects: Vec<ObjectId> = state_object.into_iter().chain(objects_of_replies(&replies)).collect();
        for object in &objects {
            // They are lent with the message that tells of them.
            self.object_entry(cx, *object).borrowers.add(owner);
        }
        self.send_fenced(cx, owner, PeerBody::Checkpoint { actor, attempt, state, replies });
        objects.into_iter().for_each(|object| self.drop_use(object));
    }

    /// The owner of an actor keeps a checkpoint, or cannot: then the actor starts again from the one before, if calls depend on it.
    pub(crate) fn checkpoint_kept(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        attempt: u32,
        outcome: Result<(), Failure>,
    ) {
        let Some(sent) = self.checkpoints_sent.get_mut(&(actor, attempt)) else { return };
        let calls = sent.pop_front().unwrap_or_default();
        if sent.is_empty() {
            self.checkpoints_sent.remove(&(actor, attempt));
        }
        let Some(hosted) = self.hosted_actors.get_mut(&actor).filter(|hosted| hosted.attempt == attempt) else {
            return;
        };
        if let (Err(why), false) = (&outcome, calls.is_empty()) {
            return self.cannot_go_on(cx, actor, &format!("its checkpoint cannot be kept: {}", why.message));
        }
        hosted.saving.sent = None;
        self.send_checkpoint(cx, actor);
    }

    /// An actor can only start again.
    fn cannot_go_on(&mut self, cx: &mut Context<'_>, actor: ActorId, why: &str) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        let light = hosted.spec.options.light;
        let Some(executor) = hosted.executor else { return };
        if light {
            self.kill_light(cx, executor, actor);
            self.hosted_is_gone(cx, actor, Failure::new(FailureKind::ProcessLost, "", why), false);
        } else {
            self.stop_executor(cx, executor, Fate::GivenUp(why.to_owned()), true);
        }
    }

    /// No checkpoint could be made of what has ended up to now. It stays in the actor, and its callers see why it may be lost with it.
    fn open_fails(&mut self, cx: &mut Context<'_>, actor: ActorId, why: &Failure) {
        let Some(hosted) = self.hosted_actors.get_mut(&actor) else { return };
        for mut held in std::mem::take(&mut hosted.saving.open) {
            self.let_go_reply(&held.reply);
            held.reply.outcome = Err(why.clone());
            self.answer_held(cx, held);
        }
    }

    /// Tells a caller how its call has ended, without a checkpoint.
    fn answer_held(&mut self, cx: &mut Context<'_>, held: Held) {
        let Held { attempt, reply } = held;
        let (call, caller) = (reply.call, reply.call.owner());
        if caller == self.worker {
            let outcome = self.reply_values(cx, reply);
            self.call_ended(cx, call, caller, outcome);
        } else {
            let outcome = self.reply_for(cx, caller, reply);
            self.send_fenced(cx, caller, PeerBody::Done { call, attempt, outcome });
        }
    }

    /// The values of a reply to a call of another worker, for which it is kept here what is large or names objects.
    pub(super) fn reply_for(
        &mut self,
        cx: &mut Context<'_>,
        caller: WorkerId,
        reply: Reply,
    ) -> Result<Vec<RemoteValue>, Failure> {
        let call = reply.call;
        let mut values = Vec::new();
        for (index, stored) in (0..).zip(self.reply_values(cx, reply)?) {
            values.push(stored.to_remote(self.worker));
            if keeps(&stored, caller) {
                self.keep_for_owner(cx, call.object(index), stored);
            }
        }
        Ok(values)
    }

    /// The values of a reply for the records of its results, as far as these are wanted. What held them lets go.
    pub(super) fn reply_values(&mut self, cx: &mut Context<'_>, reply: Reply) -> Result<Vec<Stored>, Failure> {
        let objects: Vec<ObjectId> = objects_of_replies(std::slice::from_ref(&reply)).collect();
        let gone = |object: &ObjectId| self.objects.get(object).and_then(Object::stored).is_none();
        let lost = objects.iter().any(gone);
        let (call, caller) = (reply.call, reply.call.owner());
        let outcome = reply.outcome.and_then(|values| {
            if lost {
                let why = "the result is gone from shared memory";
                return Err(Failure::new(FailureKind::ObjectLost, "", why));
            }
            let mut stored = Vec::with_capacity(values.len());
            for (index, value) in (0..).zip(values) {
                let wanted = match caller == self.worker {
                    true => self.calls.contains_key(&call) && self.is_pending(call.object(index)),
                    false => !cx.shared.lost.contains(&caller),
                };
                let again = value.object.filter(|_| wanted).and_then(|object| self.stored_again(object));
                stored.push(match (again, value.value) {
                    (Some(again), _) => again,
                    (None, RemoteValue::Inline { format, bytes, .. }) => Stored::inline(format, bytes, Vec::new()),
                    (None, RemoteValue::Held { format, .. }) => Stored::inline(format, bytes::Bytes::new(), Vec::new()),
                });
            }
            Ok(stored)
        });
        objects.into_iter().for_each(|object| self.drop_use(object));
        outcome
    }

    /// The actor does not live here any more. What a checkpoint covers goes to the owner before it hears of that. If the actor lives
    /// nowhere any more nothing is undone, and all may be seen. Returns what is made again, with the attempts that were made.
    pub(super) fn end_saving(
        &mut self,
        cx: &mut Context<'_>,
        actor: ActorId,
        hosted: &mut HostedActor,
        asked: bool,
    ) -> Vec<(CallId, u32)> {
        let Saving { open, next, .. } = std::mem::take(&mut hosted.saving);
        if asked {
            next.state.into_iter().for_each(|(state, _)| self.drop_use(state));
            next.replies.into_iter().chain(open).for_each(|held| self.answer_held(cx, held));
            return Vec::new();
        }
        if !next.is_empty() {
            self.give_checkpoint(cx, hosted.owner, actor, hosted.attempt, next);
        }
        open.iter().for_each(|held| self.let_go_reply(&held.reply));
        open.iter().map(|held| (held.reply.call, held.attempt)).collect()
    }

    /// Checkpoints that were on their way to a lost worker are kept nowhere, and the actors that it owned end.
    pub(crate) fn checkpoints_to_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let to_lost = self.checkpoints_sent.keys().copied().filter(|(actor, _)| actor.owner() == lost);
        for sent in to_lost.collect::<Vec<_>>() {
            let calls = self.checkpoints_sent.remove(&sent).unwrap_or_default();
            for (call, attempt) in calls.into_iter().flatten() {
                let why = "the worker that owned the actor was lost before it had kept what this call has done";
                let failure = Failure::new(FailureKind::ActorGone, "", why);
                self.answer_call(cx, call.owner(), call, attempt, Err(failure), Holder::Worker);
            }
        }
    }
}
