//! The calls of actors that live here. Those of one lane are made in their order, and each once.

use std::sync::Arc;

use tandem_actor_protocol::call::{ActorCall, Arg, ConcurrencyGroup};
use tandem_actor_protocol::executor::{Run, ToExecutor};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use super::{HostedActor, HostedState, Lane};
use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, objects_of};
use crate::tasks::{Wanted, cancelled};
use crate::timers::Timestamp;

/// A call that was sent to where its actor should live.
#[derive(Debug)]
pub(crate) struct SentCall {
    /// The worker of the caller.
    pub(crate) from: WorkerId,
    pub(crate) call: ActorCall,
    pub(crate) attempt: u32,
    /// Which start of the actor it is for.
    pub(crate) start: u32,
    pub(crate) group: Option<Arc<ConcurrencyGroup>>,
    /// As in [`HostedCall`].
    pub(crate) wanted: Option<Box<Wanted>>,
}

/// A call of an actor that lives here.
#[derive(Debug)]
pub(crate) struct HostedCall {
    pub(crate) actor: ActorId,
    /// The worker of the caller; none if that is lost.
    pub(crate) from: Option<WorkerId>,
    pub(crate) method: Arc<str>,
    args: Box<[Arg]>,
    returns: u32,
    pub(crate) attempt: u32,
    /// Arguments that are on their way here.
    missing: u32,
    /// Since when it is at the process of its actor.
    pub(crate) sent: Option<Timestamp>,
    /// The group of its method, if that is in one.
    pub(crate) group: Option<Arc<ConcurrencyGroup>>,
    /// The items that the worker of the caller wants, if that is another one and the method yields any.
    pub(crate) wanted: Option<Box<Wanted>>,
}

impl HostedCall {
    fn lane(&self, call: CallId) -> Lane {
        Lane::of(call, self.group.as_ref())
    }
}

impl Job {
    /// A process on another worker calls an actor that should live here.
    pub(crate) fn call_from_peer(
        &mut self,
        cx: &mut Context<'_>,
        mut sent: SentCall,
        resolved: Vec<(ObjectId, RemoteValue)>,
    ) {
        let args = std::mem::take(&mut sent.call.args);
        sent.call.args = self.guest_args(args, resolved).into_vec();
        self.host_call(cx, sent);
    }

    /// Takes a call of an actor. If it does not live here, with this start of it, the call goes back: it was not begun.
    pub(crate) fn host_call(&mut self, cx: &mut Context<'_>, sent: SentCall) {
        let SentCall { from, call, attempt, start, group, wanted } = sent;
        let ActorCall { call: id, actor, method, args, returns, .. } = call;
        if self.hosted_calls.contains_key(&id) {
            return;
        }
        let args: Box<[Arg]> = args.into();
        let method = self.intern(&method);
        let takes = |hosted: &HostedActor| {
            hosted.attempt == start && matches!(hosted.state, HostedState::Constructing | HostedState::Ready)
        };
        let Some(hosted) = self.hosted_actors.get_mut(&actor).filter(|hosted| takes(hosted)) else {
            self.drop_call_args(from, &args);
            return self.give_call_back(cx, from, id);
        };
        let waiting = hosted.calls.len() + hosted.saving.unanswered();
        if waiting >= hosted.spec.options.max_pending_calls as usize {
            let why = format!("{waiting} calls wait for the actor already");
            self.drop_call_args(from, &args);
            let failure = Failure::new(FailureKind::TooManyPending, &*method, why);
            return self.answer_call(cx, from, id, attempt, Err(failure), Holder::Worker);
        }
        let lane = Lane::of(id, group.as_ref());
        hosted.calls.insert(id);
        hosted.lanes.entry(lane.clone()).or_default().push_back(id);
        let mut elsewhere = self.args_elsewhere(&args);
        // What is on disk is brought back when it is the call's turn.
        elsewhere.retain(|object| !self.is_on_disk(*object));
        let missing = u32::try_from(elsewhere.len()).unwrap_or(u32::MAX);
        let from = Some(from);
        let entry = HostedCall { actor, from, method, args, returns, attempt, missing, sent: None, group, wanted };
        self.hosted_calls.insert(id, entry);
        for object in elsewhere {
            self.fetch_for(cx, object, FetchWaiter::Call(id));
        }
        self.advance_hosted_lane(cx, actor, &lane);
    }

    fn give_call_back(&mut self, cx: &mut Context<'_>, from: WorkerId, call: CallId) {
        if from == self.worker {
            self.calls_came_back(cx, from, &[call], None);
        } else {
            self.send_peer(cx, from, PeerBody::GaveBack(vec![call]));
        }
    }

    fn drop_call_args(&mut self, from: WorkerId, args: &[Arg]) {
        if from == self.worker {
            return;
        }
        objects_of(args).for_each(|object| self.drop_guest(object));
    }

    pub(crate) fn advance_all_lanes(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        let Some(hosted) = self.hosted_actors.get(&actor) else { return };
        for lane in hosted.lanes.keys().cloned().collect::<Vec<_>>() {
            self.advance_hosted_lane(cx, actor, &lane);
        }
    }

    /// Sends the calls of a lane on that can go now.
    fn advance_hosted_lane(&mut self, cx: &mut Context<'_>, actor: ActorId, lane: &Lane) {
        while let Some(hosted) = self.hosted_actors.get_mut(&actor) {
            let (HostedState::Constructing | HostedState::Ready | HostedState::Ending, Some(executor)) =
                (hosted.state, hosted.executor)
            else {
                return;
            };
            let Some(queue) = hosted.lanes.get_mut(lane) else { return };
            let Some(call) = queue.front().copied() else {
                hosted.lanes.remove(lane);
                return;
            };
            if self.hosted_calls.get(&call).is_some_and(|entry| entry.missing > 0) {
                return;
            }
            if self.call_arguments_away(call) {
                return;
            }
            let lanes = self.hosted_actors.get_mut(&actor).map(|hosted| &mut hosted.lanes);
            lanes.and_then(|lanes| lanes.get_mut(lane)?.pop_front());
            self.send_hosted_call(cx, executor, actor, call);
        }
    }

    /// Has arguments brought back that went to disk while the call waited. False: all are here.
    fn call_arguments_away(&mut self, call: CallId) -> bool {
        let Some(entry) = self.hosted_calls.get(&call) else { return false };
        let objects: Vec<ObjectId> = objects_of(&entry.args).collect();
        if !self.away(&objects) {
            return false;
        }
        if let Some(entry) = self.hosted_calls.get_mut(&call) {
            entry.missing = 1;
        }
        self.gather(FetchWaiter::Call(call), objects);
        true
    }

    fn send_hosted_call(&mut self, cx: &mut Context<'_>, executor: ExecutorId, actor: ActorId, call: CallId) {
        let Some(entry) = self.hosted_calls.get(&call) else { return };
        let args = entry.args.to_vec();
        let Some(args) = self.values_for(cx, executor, args) else {
            let failure = Failure::new(FailureKind::ObjectLost, "", "an argument is gone from shared memory");
            return self.hosted_call_failed(cx, call, failure);
        };
        let Some(entry) = self.hosted_calls.get_mut(&call) else { return };
        entry.sent = Some(cx.now);
        let run = Run {
            call,
            attempt: entry.attempt,
            function: entry.method.to_string(),
            actor: Some(actor),
            args,
            returns: entry.returns,
            timeout_ms: 0,
            environment: Default::default(),
        };
        let message = match self.wanted_of(call) {
            Some(wanted) => ToExecutor::CallStream { run, until: wanted.until() },
            None => ToExecutor::Call(run),
        };
        cx.send(executor, message);
    }

    pub(crate) fn hosted_call_argument_here(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(entry) = self.hosted_calls.get_mut(&call) else { return };
        entry.missing = entry.missing.saturating_sub(1);
        let (actor, lane) = (entry.actor, entry.lane(call));
        self.advance_hosted_lane(cx, actor, &lane);
    }

    /// An argument could not be read from where it was said to be: the caller's worker sends the call again, with what it knows then.
    pub(crate) fn hosted_call_unreadable(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        object: ObjectId,
        from: WorkerId,
    ) {
        let Some(entry) = self.take_hosted_call(call) else { return };
        let Some(caller) = entry.from else { return };
        // Later calls of the same lane would overtake it: they go back too.
        let lane = entry.lane(call);
        let behind = self.hosted_actors.get_mut(&entry.actor).and_then(|hosted| hosted.lanes.remove(&lane));
        let mut calls = vec![call];
        for later in behind.unwrap_or_default() {
            if later != call && self.take_hosted_call(later).is_some() {
                calls.push(later);
            }
        }
        if caller == self.worker {
            let failed = self.cannot_read(call, caller, from);
            self.calls_came_back(cx, caller, &calls, failed.as_ref());
        } else {
            self.send_peer(cx, caller, PeerBody::CannotRead { object, worker: from, calls });
        }
    }

    /// A process says that a call, or the start of its actor, has ended.
    pub(crate) fn actor_call_ended(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<Value>, Failure>,
    ) {
        let actor = ActorId(call.0);
        let starts = self.hosted_actors.get(&actor);
        if starts.is_some_and(|hosted| hosted.executor == Some(executor) && hosted.attempt == attempt) {
            return self.constructed(cx, executor, actor, outcome);
        }
        let current = self.hosted_calls.get(&call).is_some_and(|entry| {
            let process = self.hosted_actors.get(&entry.actor).and_then(|hosted| hosted.executor);
            entry.attempt == attempt && entry.sent.is_some() && process == Some(executor)
        });
        if !current {
            return;
        }
        let Some(entry) = self.take_hosted_call(call) else { return };
        let outcome = self.checked(cx, entry.returns, outcome).map_err(|failure| named(failure, &entry.method));
        self.remember_call(cx, call, &entry, outcome.as_ref().err());
        let Some(from) = entry.from else { return };
        if self.holds_replies(entry.actor) {
            return self.hold_reply(cx, executor, call, &entry, outcome);
        }
        self.answer_call(cx, from, call, attempt, outcome, Holder::Executor(executor));
    }

    /// Tells the caller's worker how a call ended.
    pub(super) fn answer_call(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<Value>, Failure>,
        writer: Holder,
    ) {
        if from == self.worker {
            let outcome = outcome.and_then(|values| self.take_results(cx, call, values, writer));
            self.call_ended(cx, call, from, outcome);
        } else {
            let outcome = outcome.and_then(|values| self.keep_results(cx, from, call, values, writer));
            self.send_fenced(cx, from, PeerBody::Done { call, attempt, outcome });
        }
    }

    pub(crate) fn hosted_call_failed(&mut self, cx: &mut Context<'_>, call: CallId, failure: Failure) {
        let Some(entry) = self.take_hosted_call(call) else { return };
        let (actor, lane) = (entry.actor, entry.lane(call));
        let failure = named(Failure { worker: cx.config.worker_name.clone(), ..failure }, &entry.method);
        self.remember_call(cx, call, &entry, Some(&failure));
        if let Some(from) = entry.from {
            self.answer_call(cx, from, call, entry.attempt, Err(failure), Holder::Worker);
        }
        self.advance_hosted_lane(cx, actor, &lane);
    }

    /// A call is not here any more.
    fn take_hosted_call(&mut self, call: CallId) -> Option<HostedCall> {
        let entry = self.hosted_calls.remove(&call)?;
        self.stuck.remove(call);
        if let Some(hosted) = self.hosted_actors.get_mut(&entry.actor) {
            hosted.calls.remove(&call);
            if entry.sent.is_none()
                && let Some(lane) = hosted.lanes.get_mut(&entry.lane(call))
            {
                lane.retain(|other| *other != call);
            }
        }
        self.drop_call_args(entry.from.unwrap_or(self.worker), &entry.args);
        Some(entry)
    }

    /// A call that is here is to end. False: it is not.
    pub(crate) fn cancel_hosted_call(&mut self, cx: &mut Context<'_>, call: CallId) -> bool {
        let Some(entry) = self.hosted_calls.get(&call) else { return false };
        if entry.sent.is_none() {
            self.hosted_call_failed(cx, call, cancelled(""));
            return true;
        }
        if let Some(executor) = self.hosted_actors.get(&entry.actor).and_then(|hosted| hosted.executor) {
            self.stuck.remove(call);
            cx.send(executor, ToExecutor::Cancel(call));
        }
        true
    }

    /// The actor of these calls does not live here any more: those that may have begun have failed, with those `undone` that had ended
    /// and nobody has seen; the others go back.
    pub(crate) fn calls_of_gone(
        &mut self,
        cx: &mut Context<'_>,
        hosted: HostedActor,
        undone: Vec<(CallId, u32)>,
        why: &Failure,
        again: bool,
    ) {
        let kind = if again { FailureKind::ProcessLost } else { FailureKind::ActorGone };
        for (call, attempt) in undone {
            let message = format!("the actor was lost before what this has done was kept: {}", why.message);
            let failure = Failure { kind, message, ..why.clone() };
            self.answer_call(cx, call.owner(), call, attempt, Err(failure), Holder::Worker);
        }
        for call in hosted.calls {
            let Some(entry) = self.take_hosted_call(call) else { continue };
            if entry.sent.is_none() {
                if let Some(from) = entry.from {
                    self.give_call_back(cx, from, call);
                }
                continue;
            }
            let message = format!("the actor was lost while it worked on this: {}", why.message);
            let failure = Failure { kind, message, task: entry.method.to_string(), ..why.clone() };
            self.remember_call(cx, call, &entry, Some(&failure));
            let Some(from) = entry.from else { continue };
            self.answer_call(cx, from, call, entry.attempt, Err(failure), Holder::Worker);
        }
    }

    /// Nobody waits for the calls that a lost worker has made. Those that yield items would wait for ever until there is room for more.
    pub(crate) fn calls_from_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let mut calls: Vec<CallId> =
            self.hosted_calls.iter().filter(|(_, entry)| entry.from == Some(lost)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls {
            let Some(entry) = self.hosted_calls.get_mut(&call) else { continue };
            if entry.sent.is_some() {
                let (args, yields) = (std::mem::take(&mut entry.args), entry.wanted.is_some());
                entry.from = None;
                self.drop_call_args(lost, &args);
                if yields {
                    self.cancel_hosted_call(cx, call);
                }
            } else {
                self.take_hosted_call(call);
            }
        }
    }
}

fn named(failure: Failure, method: &str) -> Failure {
    if failure.task.is_empty() { Failure { task: method.to_owned(), ..failure } } else { failure }
}
