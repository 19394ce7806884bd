//! The calls of actors that processes of this worker make. This worker owns their results.

use std::sync::Arc;

use tandem_actor_protocol::call::{ActorCall, Arg, ConcurrencyGroup};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, WorkerId};

use super::streams::cut_short;
use super::{Lane, Place, Route, SentCall};
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
    /// How often it came back because an argument could not be read.
    pub(crate) unread: u8,
    pub(crate) state: CallState,
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallState {
    /// Waits for so many arguments, for calls before it, and for its actor.
    Waiting { missing: u32 },
    /// At the worker where its actor lives, or has lived with this start of it.
    Sent { host: WorkerId, start: u32 },
}

impl CallState {
    /// Whether it is at this worker.
    pub(crate) fn is_at(self, worker: WorkerId) -> bool {
        matches!(self, Self::Sent { host, .. } if host == worker)
    }

    /// Whether it is where its actor has lived before this start of it.
    pub(super) fn is_of_start_before(self, now: u32) -> bool {
        matches!(self, Self::Sent { start, .. } if start < now)
    }
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
        Self { actor, method, args, returns, parent, group, attempt: 0, cancelled: false, unread: 0, state }
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
            if self.is_behind(route, lane) {
                return;
            }
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
        let (outside, start) = self.routes.get(&entry.actor).map_or((None, 0), |route| (route.outside, route.start));
        if let Some(outside) = outside {
            return self.send_call_outside(cx, id, outside);
        }
        entry.state = CallState::Sent { host, start };
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
            route.sent(lane, id);
        }
        if host == self.worker {
            return self.host_call(cx, SentCall { from: self.worker, call, attempt, start, group, wanted: None });
        }
        let resolved = self.resolve_args(&call.args);
        let (group, items) = (group.as_deref().cloned(), self.first_items(id));
        self.send_peer(cx, host, PeerBody::Call { call, attempt, resolved, start, group, items });
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
        let current = self.calls.get(&call).is_some_and(|entry| entry.attempt == attempt && entry.state.is_at(from));
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
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let lost = |failure: &Failure| matches!(failure.kind, FailureKind::ProcessLost | FailureKind::WorkerLost);
        let retried = |route: &Route| route.retry_calls && !matches!(route.place, Place::Gone(_));
        let yielded = self.streams.yielded(call);
        let outcome = match outcome {
            Err(why) if lost(&why) && entry.cancelled => Err(Failure { kind: FailureKind::Cancelled, ..why }),
            Err(why) if lost(&why) && self.routes.get(&entry.actor).is_some_and(retried) => {
                if yielded == 0 {
                    entry.attempt += 1;
                    return self.call_again(cx, call, host);
                }
                Err(cut_short(yielded, why))
            }
            outcome => outcome,
        };
        let (actor, lane, state) = (entry.actor, entry.lane(call), entry.state);
        self.finish_call(cx, call, outcome);
        if self.routes.get(&actor).is_some_and(|route| state.is_of_start_before(route.start)) {
            self.advance_lane(cx, actor, &lane);
        }
    }

    /// A call of this worker has ended so for good, wherever it was sent by now: a checkpoint of its actor covers it. The items that
    /// it has yielded may still be on their way from there.
    pub(crate) fn call_covered(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        yielded: u64,
        outcome: Result<Vec<Stored>, Failure>,
    ) {
        let Some(entry) = self.calls.get(&call) else {
            return self.drop_results(call, outcome);
        };
        let (actor, lane) = (entry.actor, entry.lane(call));
        let may_come = matches!(entry.state, CallState::Sent { host, .. } if !cx.shared.lost.contains(&host));
        if may_come && self.streams.wanted(call).is_some_and(|wanted| wanted.first() < yielded) {
            return self.streams.ends_after(call, yielded, outcome);
        }
        self.items_never_came(cx, call, yielded);
        self.finish_call(cx, call, outcome);
        self.advance_lane(cx, actor, &lane);
    }

    /// The owner of an actor says so.
    pub(crate) fn call_covered_elsewhere(
        &mut self,
        cx: &mut Context<'_>,
        owner: WorkerId,
        call: CallId,
        yielded: u64,
        outcome: Result<Vec<RemoteValue>, Failure>,
    ) {
        let values = outcome.map(|values| values.into_iter().map(|value| self.stored_result(owner, value)).collect());
        self.call_covered(cx, call, yielded, values);
    }

    /// What these calls have done is undone, and nobody has seen it.
    pub(crate) fn calls_uncovered(&mut self, cx: &mut Context<'_>, host: WorkerId, calls: &[CallId]) {
        for call in calls {
            if !self.calls.get(call).is_some_and(|entry| entry.state.is_at(host)) {
                continue;
            }
            let why = "the checkpoint of the actor that was to cover this cannot be kept";
            let mut why = Failure::new(FailureKind::ProcessLost, "", why);
            if self.streams.contains(*call) {
                // Items of it may be on their way here, and would pass for those of another attempt.
                why = cut_short(self.streams.yielded(*call), why);
            }
            self.call_ended(cx, *call, host, Err(why));
        }
    }

    /// Puts a call back that has not been made, or is to be made again.
    fn call_again(&mut self, cx: &mut Context<'_>, call: CallId, host: WorkerId) {
        let Some(entry) = self.calls.get_mut(&call) else { return };
        let (actor, lane) = (entry.actor, entry.lane(call));
        entry.state = CallState::Waiting { missing: 0 };
        let Some(route) = self.routes.get_mut(&actor) else { return };
        route.not_sent(&lane, call);
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

    /// A host gives calls back that it has not begun, such as when their actor was not there. One of them may have failed.
    pub(crate) fn calls_came_back(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        calls: &[CallId],
        failed: Option<&(CallId, Failure)>,
    ) {
        for call in calls {
            let failure = failed.filter(|(failed, _)| failed == call).map(|(_, failure)| failure.clone());
            let Some(entry) = self.calls.get(call) else {
                self.start_came_back(cx, from, ActorId(call.0), failure);
                continue;
            };
            if !entry.state.is_at(from) {
                continue;
            }
            match failure.or_else(|| entry.cancelled.then(|| cancelled(&entry.method))) {
                Some(failure) => self.call_ended(cx, *call, from, Err(failure)),
                None => self.call_again(cx, *call, from),
            }
        }
    }

    /// A worker is lost: calls there are made again or fail.
    pub(crate) fn calls_at_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let there = |entry: &Call| entry.state.is_at(lost);
        let mut calls: Vec<CallId> =
            self.calls.iter().filter(|(_, entry)| there(entry)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls {
            if let Some((yielded, outcome)) = self.streams.take_end(call) {
                self.call_covered(cx, call, yielded, outcome);
                continue;
            }
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
            CallState::Sent { host, .. } if host == self.worker => {
                self.cancel_hosted_call(cx, call);
            }
            CallState::Sent { host, .. } => self.send_peer(cx, host, PeerBody::Cancel { call, force: false }),
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
            let lane = entry.lane(call);
            route.not_sent(&lane, call);
            route.take(&lane, call);
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
