//! The calls of actors that processes of this worker make. This worker owns their results.

use std::sync::Arc;

use tandem_actor_protocol::call::{ActorCall, Arg, ConcurrencyGroup};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, WorkerId};

use super::streams::cut_short;
use super::{Lane, Place};
use crate::context::Context;
use crate::job::Job;
use crate::objects::{Refused, Stored, Waiter, await_args, objects_of};
use crate::tasks::{cancelled, dependency};

/// What is known of a call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) actor: ActorId,
    pub(crate) method: Arc<str>,
    pub(crate) args: Box<[Arg]>,
    pub(crate) returns: u32,
    pub(crate) parent: Option<CallId>,
    /// The group of its method, if that is in one.
    pub(crate) group: Option<Arc<ConcurrencyGroup>>,
    pub(crate) attempt: u32,
    /// Someone wants it ended: it is not made again.
    pub(crate) cancelled: bool,
    pub(crate) state: CallState,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallState {
    /// Waits for so many arguments, for calls before it, and for its actor.
    Waiting { missing: u32 },
    /// At the worker where its actor lives.
    Sent { host: WorkerId },
}

impl Call {
    /// One that waits to be sent.
    pub(crate) fn new(
        actor: ActorId,
        method: Arc<str>,
        args: Box<[Arg]>,
        returns: u32,
        parent: Option<CallId>,
        group: Option<ConcurrencyGroup>,
    ) -> Self {
        let (group, state) = (group.map(Arc::new), CallState::Waiting { missing: 0 });
        Self { actor, method, args, returns, parent, group, attempt: 0, cancelled: false, state }
    }

    /// Where it is made in order.
    pub(crate) fn lane(&self, call: CallId) -> Lane {
        Lane::of(call, self.group.as_ref())
    }
}

impl Job {
    /// A process calls an actor.
    pub(crate) fn call(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: ActorCall,
        group: Option<ConcurrencyGroup>,
    ) {
        let ActorCall { call, actor, method, args, returns, parent } = call;
        if !self.may_make(executor, call, returns) {
            return self.broke_protocol(cx, executor, &format!("{call} is not its to make"));
        }
        self.make_results(cx, executor, call, returns);
        let args = match self.take_args(cx, executor, args) {
            Ok(args) => args,
            Err(Refused::Broken(why)) => return self.broke_protocol(cx, executor, &why),
            Err(Refused::Full(why)) => {
                let failure = Arc::new(Failure::new(FailureKind::StoreFull, method, why));
                return (0..returns).for_each(|index| self.break_object(call.object(index), failure.clone()));
            }
        };
        if let Some(parent) = parent {
            self.children.insert((parent, call));
        }
        let method = self.intern(&method);
        self.calls.insert(call, Call::new(actor, method, args, returns, parent, group));
        self.place_call(cx, call, actor);
    }

    /// Puts a new call where it goes from to its actor.
    pub(crate) fn place_call(&mut self, cx: &mut Context<'_>, call: CallId, actor: ActorId) {
        let Some(lane) = self.calls.get(&call).map(|entry| entry.lane(call)) else { return };
        let most = self.owned_actors.get(&actor).map_or(DEFAULT_PENDING, |owned| owned.spec.options.max_pending_calls);
        let route = self.route_to(cx, actor);
        match route.place.clone() {
            Place::Gone(failure) => self.call_failed(cx, call, &failure),
            _ if route.waiting >= most as usize => self.too_many(cx, call, most),
            Place::Unknown | Place::At(_) => {
                route.add(lane.clone(), call);
                self.await_args(cx, call);
                self.advance_lane(cx, actor, &lane);
            }
        }
    }

    fn too_many(&mut self, cx: &mut Context<'_>, call: CallId, most: u32) {
        let failure = Failure::new(FailureKind::TooManyPending, "", format!("{most} calls wait for the actor already"));
        self.call_failed(cx, call, &failure);
    }

    /// Has a call wait for those of its arguments that have no value.
    fn await_args(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let waiter = Waiter::Call(call);
        let (missing, failed) = await_args(&self.objects, &mut self.waiters, &entry.args, waiter);
        entry.state = CallState::Waiting { missing };
        if let Some(failure) = failed {
            self.call_dependency_failed(cx, call, &failure);
        }
    }

    /// An argument of a call has a value now, or never will.
    pub(crate) fn call_argument_settled(&mut self, cx: &mut Context<'_>, call: CallId, failed: Option<&Failure>) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let CallState::Waiting { missing } = &mut entry.state else { return };
        if let Some(failure) = failed {
            return self.call_dependency_failed(cx, call, failure);
        }
        *missing = missing.saturating_sub(1);
        if *missing == 0 {
            let (actor, lane) = (entry.actor, entry.lane(call));
            self.advance_lane(cx, actor, &lane);
        }
    }

    fn call_dependency_failed(&mut self, cx: &mut Context<'_>, call: CallId, cause: &Failure) {
        let Some(entry) = self.calls.get(&call) else { return };
        let (actor, lane, failure) = (entry.actor, entry.lane(call), dependency(&entry.method, cause));
        self.finish_call(cx, call, Err(failure));
        self.advance_lane(cx, actor, &lane);
    }

    /// Sends the calls of a lane that can go now.
    pub(crate) fn advance_lane(&mut self, cx: &mut Context<'_>, actor: ActorId, lane: &Lane) {
        while let Some(route) = self.routes.get(&actor) {
            let Place::At(host) = route.place else { return };
            let Some(call) = route.lanes.get(lane).and_then(|lane| lane.front()).copied() else { return };
            let Some(entry) = self.calls.get(&call) else { return };
            if entry.state != (CallState::Waiting { missing: 0 }) {
                return;
            }
            if objects_of(&entry.args).any(|object| self.is_pending(object)) {
                return self.await_args(cx, call);
            }
            self.send_call(cx, call, host);
        }
    }

    fn send_call(&mut self, cx: &mut Context<'_>, id: CallId, host: WorkerId) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        if let Some(outside) = self.routes.get(&entry.actor).and_then(|route| route.outside) {
            return self.send_call_outside(cx, id, outside);
        }
        entry.state = CallState::Sent { host };
        let (actor, attempt, lane, group) = (entry.actor, entry.attempt, entry.lane(id), entry.group.clone());
        let call = ActorCall {
            call: id,
            actor,
            method: entry.method.to_string(),
            args: entry.args.to_vec(),
            returns: entry.returns,
            parent: entry.parent,
        };
        if let Some(route) = self.routes.get_mut(&actor) {
            route.take(&lane, id);
            route.sent.insert(id);
        }
        if host == self.worker {
            return self.host_call(cx, self.worker, call, attempt, group, None);
        }
        let resolved = self.resolve_args(&call.args);
        let group = group.map(|group| ConcurrencyGroup::clone(&group));
        let body = match self.first_items(id) {
            None if group.is_none() => PeerBody::Call { call, attempt, resolved },
            items => PeerBody::CallWith { call, attempt, resolved, group, items },
        };
        self.send_peer(cx, host, body);
    }

    /// A host says how a call ended.
    pub(crate) fn call_done_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<RemoteValue>, Failure>,
    ) {
        let values = outcome.map(|values| values.into_iter().map(|value| self.stored_result(from, value)).collect());
        let current = self
            .calls
            .get(&call)
            .is_some_and(|entry| entry.attempt == attempt && entry.state == CallState::Sent { host: from });
        if current {
            self.call_ended(cx, call, from, values);
        } else {
            self.drop_results(call, values);
        }
    }

    /// A call has ended where it was sent. One that was under way when its actor was lost may be made again.
    pub(crate) fn call_ended(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        host: WorkerId,
        outcome: Result<Vec<Stored>, Failure>,
    ) {
        let Some(entry) = self.calls.get(&call) else { return };
        let actor = entry.actor;
        let lost = |failure: &Failure| matches!(failure.kind, FailureKind::ProcessLost | FailureKind::WorkerLost);
        if entry.cancelled && outcome.as_ref().is_err_and(lost) {
            let outcome = outcome.map_err(|why| Failure { kind: FailureKind::Cancelled, ..why });
            return self.finish_call(cx, call, outcome);
        }
        let again = outcome.as_ref().is_err_and(lost)
            && self.routes.get(&actor).is_some_and(|route| route.retry_calls && !matches!(route.place, Place::Gone(_)));
        if !again {
            return self.finish_call(cx, call, outcome);
        }
        let yielded = self.streams.yielded(call);
        if yielded > 0 {
            return self.finish_call(cx, call, outcome.map_err(|why| cut_short(yielded, why)));
        }
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.attempt += 1;
        self.call_again(cx, call, host);
    }

    /// Puts a call back that has not been made, or is to be made again.
    fn call_again(&mut self, cx: &mut Context<'_>, call: CallId, host: WorkerId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let (actor, lane) = (entry.actor, entry.lane(call));
        entry.state = CallState::Waiting { missing: 0 };
        let Some(route) = self.routes.get_mut(&actor) else { return };
        route.sent.remove(&call);
        if let Place::Gone(failure) = route.place.clone() {
            return self.call_failed(cx, call, &failure);
        }
        route.add(lane.clone(), call);
        let stale = route.place == Place::At(host);
        self.await_args(cx, call);
        if stale {
            // It is not there any more, whatever is known here.
            self.ask_place(cx, actor);
        } else {
            self.advance_lane(cx, actor, &lane);
        }
    }

    /// A host gives calls back that it has not begun: their actor was not there.
    pub(crate) fn calls_came_back(&mut self, cx: &mut Context<'_>, from: WorkerId, calls: &[CallId]) {
        for call in calls {
            match self.calls.get(call) {
                Some(entry) if entry.state == (CallState::Sent { host: from }) && entry.cancelled => {
                    let failure = cancelled(&entry.method);
                    self.finish_call(cx, *call, Err(failure));
                }
                Some(entry) if entry.state == (CallState::Sent { host: from }) => self.call_again(cx, *call, from),
                Some(_) => {}
                None => self.start_came_back(cx, from, ActorId(call.0)),
            }
        }
    }

    /// A worker is lost: calls there are made again or fail.
    pub(crate) fn calls_at_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let there = |entry: &Call| entry.state == CallState::Sent { host: lost };
        let mut calls: Vec<CallId> =
            self.calls.iter().filter(|(_, entry)| there(entry)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls {
            let again = self
                .calls
                .get(&call)
                .is_some_and(|entry| self.routes.get(&entry.actor).is_some_and(|route| route.retry_calls));
            let kind = if again { FailureKind::WorkerLost } else { FailureKind::ActorGone };
            let failure = Failure::new(kind, "", format!("{lost}, where the actor was, is lost"));
            self.call_ended(cx, call, lost, Err(failure));
        }
    }

    /// A call of this worker is to end.
    pub(crate) fn cancel_call(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        entry.cancelled = true;
        match entry.state {
            CallState::Waiting { .. } => {
                let (actor, lane, failure) = (entry.actor, entry.lane(call), cancelled(&entry.method));
                self.finish_call(cx, call, Err(failure));
                self.advance_lane(cx, actor, &lane);
            }
            CallState::Sent { host } if host == self.worker => {
                self.cancel_hosted_call(cx, call);
            }
            CallState::Sent { host } => self.send_peer(cx, host, PeerBody::Cancel { call, force: false }),
        }
    }

    pub(crate) fn call_failed(&mut self, cx: &mut Context<'_>, call: CallId, failure: &Failure) {
        self.finish_call(cx, call, Err(failure.clone()));
    }

    /// A call has ended: its objects have values, or never will.
    pub(crate) fn finish_call(&mut self, cx: &mut Context<'_>, call: CallId, outcome: Result<Vec<Stored>, Failure>) {
        let Some(entry) = self.calls.remove(&call) else { return };
        if let Some(parent) = entry.parent {
            self.children.remove(&(parent, call));
        }
        if let Some(route) = self.routes.get_mut(&entry.actor) {
            route.sent.remove(&call);
            route.take(&entry.lane(call), call);
        }
        self.forget_route(entry.actor);
        let failure = match outcome {
            Ok(values) => {
                for (index, stored) in (0..).zip(values) {
                    self.result(cx, call.object(index), stored);
                }
                None
            }
            Err(failure) => {
                let task = if failure.task.is_empty() { entry.method.to_string() } else { failure.task };
                let failure = Arc::new(Failure { task, attempts: entry.attempt + 1, ..failure });
                (0..entry.returns).for_each(|index| self.break_object(call.object(index), failure.clone()));
                Some(failure)
            }
        };
        self.end_stream(call, failure.as_ref());
        self.streams.forget(call);
        self.drop_args(&entry.args);
    }

    /// The calls that the driver has made.
    pub(crate) fn top_calls(&self) -> impl Iterator<Item = CallId> {
        self.calls.iter().filter(|(_, call)| call.parent.is_none()).map(|(call, _)| *call)
    }
}

/// What an actor of another worker is taken to allow before its host says otherwise.
const DEFAULT_PENDING: u32 = 100_000;
