//! Calls that processes of this worker make of actors of other jobs, once it is known where these are owned.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{OutsideCall, OutsideValue, PeerBody};
use tandem_actor_protocol::value::Body;
use tandem_actor_protocol::{ActorId, CallId, JobId, ObjectId, WorkerId};

use super::fetch::{Becomes, FromOutside};
use super::{drop_unwanted, outward};
use crate::actors::CallState;
use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, Object, Stored};

/// A call that has ended, with results that are still on their way.
#[derive(Debug)]
pub(crate) struct Returning {
    from: WorkerId,
    /// The job of the actor, and what it keeps of the results.
    job: JobId,
    kept: Vec<ObjectId>,
    values: Vec<Option<Stored>>,
}

impl Job {
    /// Sends a call whose arguments have values to the owner of its actor, or gets those first that are elsewhere.
    pub(crate) fn send_call_outside(&mut self, cx: &mut Context<'_>, id: CallId, actor: ActorId) {
        if self.streams.contains(id) {
            let why =
                "items are objects, and those of one job mean nothing in another: an actor of another job yields none";
            return self.call_failed(cx, id, &Failure::new(FailureKind::Mismatch, "", why));
        }
        let args = match self.args_outward(cx, id) {
            Ok(Some(args)) => args,
            Ok(None) => return,
            Err(failure) => return self.call_failed(cx, id, &failure),
        };
        let Some(entry) = self.calls.get_mut(&id) else { return };
        entry.state = CallState::Sent { host: actor.owner(), start: 0 };
        let call = OutsideCall {
            caller: self.worker,
            job: self.id,
            call: id,
            actor,
            method: entry.method.to_string(),
            args,
            returns: entry.returns,
            group: entry.group.as_deref().cloned(),
        };
        let (known_as, lane) = (entry.actor, entry.lane(id));
        if let Some(route) = self.routes.get_mut(&known_as) {
            route.sent(lane, id);
        }
        let body = PeerBody::CallOutside(Box::new(call));
        if actor.owner() == self.worker {
            cx.tell_job(self.worker, self.id, body);
        } else {
            self.send_peer(cx, actor.owner(), body);
        }
    }

    /// The arguments of a call for another job; none as long as some are on their way here.
    fn args_outward(&mut self, cx: &mut Context<'_>, id: CallId) -> Result<Option<Vec<OutsideValue>>, Failure> {
        let Some(entry) = self.calls.get(&id) else { return Ok(None) };
        let (mut args, mut away) = (Vec::with_capacity(entry.args.len()), Vec::new());
        for arg in &entry.args {
            match arg {
                Arg::Value(value) => {
                    let Body::Inline { format, bytes } = &value.body else { continue };
                    let stored = Stored::inline(*format, bytes.clone(), value.refs.clone());
                    args.extend(outward(&stored, self.id, ObjectId(id.0))?);
                }
                Arg::Object(object) => {
                    let Some(stored) = self.objects.get(object).and_then(Object::stored) else { continue };
                    match outward(stored, self.id, *object)? {
                        Some(value) => args.push(value),
                        None => away.push(*object),
                    }
                }
            }
        }
        if away.is_empty() {
            return Ok(Some(args));
        }
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.state = CallState::Waiting { missing: u32::try_from(away.len()).unwrap_or(u32::MAX) };
        }
        for object in away {
            self.fetch_for(cx, object, FetchWaiter::Outward(id));
        }
        Ok(None)
    }

    /// The owner of the actor says how a call has ended.
    pub(crate) fn done_outside(
        &mut self,
        cx: &mut Context<'_>,
        from: WorkerId,
        call: CallId,
        outcome: Result<Vec<OutsideValue>, Failure>,
    ) {
        let current = self.calls.get(&call).filter(|entry| entry.state.is_at(from));
        let Some(returns) = current.map(|entry| entry.returns as usize) else {
            return drop_unwanted(cx, from, self.id, outcome.unwrap_or_default());
        };
        let values = match outcome {
            Ok(values) if values.len() == returns => values,
            Ok(values) => {
                let why = format!("it returned {} values in place of {returns}", values.len());
                drop_unwanted(cx, from, self.id, values);
                return self.call_ended(cx, call, from, Err(Failure::new(FailureKind::Mismatch, "", why)));
            }
            Err(failure) => return self.call_ended(cx, call, from, Err(failure)),
        };
        let mut returning = Returning { from, job: self.id, kept: Vec::new(), values: Vec::new() };
        let mut away = Vec::new();
        for (index, value) in (0..).zip(values) {
            returning.values.push(match value {
                OutsideValue::Inline { format, bytes } => Some(Stored::inline(format, bytes, Vec::new())),
                OutsideValue::Held { format, length, job, object } => {
                    returning.job = job;
                    returning.kept.push(object);
                    let becomes = Becomes::Result { call, index };
                    away.push((call.object(index), length, FromOutside { job, object, format, becomes }));
                    None
                }
            });
        }
        self.returning.insert(call, returning);
        for (object, length, outside) in away {
            self.fetch_outside(cx, object, from, length, outside);
        }
        self.returned_outside(cx, call);
    }

    /// A result is here, or could not be had.
    pub(super) fn result_from_outside(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        index: u32,
        outcome: Result<Stored, Failure>,
    ) {
        let place = self.returning.get_mut(&call).and_then(|returning| returning.values.get_mut(index as usize));
        match (place, outcome) {
            (Some(place), Ok(stored)) => {
                *place = Some(stored);
                self.returned_outside(cx, call);
            }
            (Some(_), Err(failure)) => self.end_outside(cx, call, Err(failure)),
            (None, Ok(stored)) => self.give_up(&stored),
            (None, Err(_)) => {}
        }
    }

    fn returned_outside(&mut self, cx: &mut Context<'_>, call: CallId) {
        if self.returning.get(&call).is_some_and(|returning| returning.values.iter().all(Option::is_some)) {
            self.end_outside(cx, call, Ok(()));
        }
    }

    /// The call has ended here too, and the owner of the actor needs to keep nothing of it.
    fn end_outside(&mut self, cx: &mut Context<'_>, call: CallId, outcome: Result<(), Failure>) {
        let Some(returning) = self.returning.remove(&call) else { return };
        returning.let_go(cx, self.id);
        let values: Vec<Stored> = returning.values.into_iter().flatten().collect();
        let wanted = self.calls.contains_key(&call);
        let mut taken = Vec::with_capacity(values.len());
        for (index, stored) in (0..).zip(values) {
            if outcome.is_err() || !wanted || !self.is_pending(call.object(index)) {
                self.give_up(&stored);
            }
            taken.push(stored);
        }
        self.call_ended(cx, call, returning.from, outcome.map(|()| taken));
    }
}

impl Returning {
    /// Has the owner of the actor drop what it keeps.
    pub(crate) fn let_go(&self, cx: &mut Context<'_>, job: JobId) {
        if !self.kept.is_empty() {
            cx.tell_job(self.from, self.job, PeerBody::DropOutside { job, objects: self.kept.clone() });
        }
    }
}
