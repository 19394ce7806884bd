//! Calls of other jobs of actors that this worker owns. They are made like those of its own processes.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{OutsideCall, OutsideValue, PeerBody};
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{CallId, JobId, ObjectId, WorkerId};

use super::fetch::{Becomes, FromOutside};
use super::outward;
use crate::actors::Call;
use crate::context::Context;
use crate::job::Job;
use crate::objects::{FetchWaiter, Object, ObjectState, Waiter};

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct OutsideCalls {
    /// By what they are called here.
    calls: BTreeMap<CallId, Caller>,
    /// Results that are kept until a job of a worker drops them.
    kept: BTreeMap<(WorkerId, JobId), BTreeSet<ObjectId>>,
}

/// Who waits for the end of a call.
#[derive(Debug)]
struct Caller {
    worker: WorkerId,
    job: JobId,
    /// As it is called there.
    call: CallId,
    returns: u32,
    /// Results that have no value, or are not here.
    missing: u32,
}

impl Caller {
    fn answer(&self, cx: &mut Context<'_>, outcome: Result<Vec<OutsideValue>, Failure>) {
        cx.tell_job(self.worker, self.job, PeerBody::DoneOutside { call: self.call, outcome });
    }
}

impl Job {
    /// A process of another job calls an actor of this one.
    pub(crate) fn call_from_outside(&mut self, cx: &mut Context<'_>, call: OutsideCall) {
        let OutsideCall { caller: worker, job, call, actor, method, args, returns, group } = call;
        let ours = cx.new_call(returns);
        for index in 0..returns {
            let object = ours.object(index);
            self.objects.insert(object, Object::new(ObjectState::Pending, index));
            self.hold_use(cx, object);
            self.wait_for(object, Waiter::Outside(ours));
        }
        let args = args.into_iter().map(|arg| self.arg_from_outside(cx, worker, arg)).collect();
        self.outside.calls.insert(ours, Caller { worker, job, call, returns, missing: returns });
        let method = self.intern(&method);
        self.calls.insert(ours, Call::new(actor, method, args, returns, None, group));
        self.place_call(cx, ours, actor);
    }

    fn arg_from_outside(&mut self, cx: &mut Context<'_>, from: WorkerId, arg: OutsideValue) -> Arg {
        match arg {
            OutsideValue::Inline { format, bytes } => Arg::Value(Value::inline(format, bytes)),
            OutsideValue::Held { format, length, job, object } => {
                let here = cx.new_objects(1);
                self.objects.insert(here, Object::new(ObjectState::Pending, crate::objects::NO_INDEX));
                self.hold_use(cx, here);
                let outside = FromOutside { job, object, format, becomes: Becomes::Object };
                self.fetch_outside(cx, here, from, length, outside);
                Arg::Object(here)
            }
        }
    }

    /// A result of such a call has a value, never will, or is here now.
    pub(crate) fn outside_settled(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(caller) = self.outside.calls.get_mut(&call) else { return };
        caller.missing = caller.missing.saturating_sub(1);
        if caller.missing == 0 {
            self.answer_outside(cx, call);
        }
    }

    /// All results are there: sends them, or gets those first that are elsewhere.
    fn answer_outside(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(returns) = self.outside.calls.get(&call).map(|caller| caller.returns) else { return };
        let (mut values, mut away) = (Vec::with_capacity(returns as usize), Vec::new());
        for object in (0..returns).map(|index| call.object(index)) {
            let value = match self.objects.get(&object).map(|record| &record.state) {
                Some(ObjectState::Ready(stored)) => outward(stored, self.id, object),
                Some(ObjectState::Failed(failure)) => Err(Failure::clone(failure)),
                Some(ObjectState::Pending) | None => Ok(None),
            };
            match value {
                Ok(Some(value)) => values.push(value),
                Ok(None) => away.push(object),
                Err(failure) => return self.end_call_from_outside(cx, call, Err(failure)),
            }
        }
        if away.is_empty() {
            return self.end_call_from_outside(cx, call, Ok(values));
        }
        if let Some(caller) = self.outside.calls.get_mut(&call) {
            caller.missing = u32::try_from(away.len()).unwrap_or(u32::MAX);
        }
        for object in away {
            self.bring_result(cx, call, object);
        }
    }

    /// Has a result come here, once it has a value.
    pub(crate) fn bring_result(&mut self, cx: &mut Context<'_>, call: CallId, object: ObjectId) {
        if self.is_pending(object) {
            self.wait_for(object, Waiter::Outside(call));
        } else {
            self.fetch_for(cx, object, FetchWaiter::Outside(call));
        }
    }

    /// Tells the caller how a call has ended, and keeps what is held here for it.
    pub(crate) fn end_call_from_outside(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        outcome: Result<Vec<OutsideValue>, Failure>,
    ) {
        let Some(caller) = self.outside.calls.remove(&call) else { return };
        let held = |value: &OutsideValue| match value {
            OutsideValue::Held { object, .. } => Some(*object),
            OutsideValue::Inline { .. } => None,
        };
        for object in outcome.iter().flatten().filter_map(held) {
            if let Some(record) = self.objects.get_mut(&object) {
                record.kept = true;
                self.outside.kept.entry((caller.worker, caller.job)).or_default().insert(object);
            }
        }
        caller.answer(cx, outcome);
        (0..caller.returns).for_each(|index| self.drop_use(call.object(index)));
    }

    /// A job of a worker needs results no more.
    pub(crate) fn drop_outside(&mut self, from: WorkerId, job: JobId, objects: &[ObjectId]) {
        let Some(kept) = self.outside.kept.get_mut(&(from, job)) else { return };
        let dropped = objects.iter().filter(|object| kept.remove(object)).copied().collect();
        if kept.is_empty() {
            self.outside.kept.remove(&(from, job));
        }
        self.drop_kept(dropped);
    }

    /// A worker is lost, with all jobs that may have called from there.
    pub(crate) fn callers_lost(&mut self, lost: WorkerId) {
        let kept: Vec<_> = self.outside.kept.keys().copied().filter(|(worker, _)| *worker == lost).collect();
        for key in kept {
            let objects = self.outside.kept.remove(&key).unwrap_or_default();
            self.drop_kept(objects.into_iter().collect());
        }
        let of_lost = self.outside.calls.iter().filter(|(_, caller)| caller.worker == lost);
        for call in of_lost.map(|(call, _)| *call).collect::<Vec<_>>() {
            if let Some(caller) = self.outside.calls.remove(&call) {
                (0..caller.returns).for_each(|index| self.drop_use(call.object(index)));
            }
        }
    }

    /// The job ends, and its actors with it.
    pub(crate) fn end_outside_calls(&mut self, cx: &mut Context<'_>) {
        for caller in std::mem::take(&mut self.outside.calls).into_values() {
            let failure = Failure::new(FailureKind::ActorGone, "", "the actor is gone: its job has ended");
            caller.answer(cx, Err(failure));
        }
        for returning in std::mem::take(&mut self.returning).into_values() {
            returning.let_go(cx, self.id);
        }
        cx.shared.public.retain(|_, job| *job != self.id);
    }
}
