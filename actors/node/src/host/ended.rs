//! What becomes of a task that ran here: its end is told to whoever wanted it run.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, WorkerId};
use tandem_arena::Holder;

use super::{Hosted, Phase, Source};
use crate::action::Action;
use crate::context::Context;
use crate::job::Job;
use crate::objects::{NO_INDEX, Object, ObjectState, Refused, Stored, Ticket};
use crate::tasks::keeps;

impl Job {
    /// A process says that a task has ended.
    pub(crate) fn task_ended(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        call: CallId,
        attempt: u32,
        outcome: Result<Vec<Value>, Failure>,
    ) {
        let current = |hosted: &Hosted| hosted.attempt == attempt && hosted.phase == Phase::Sent(executor);
        if !self.hosted.get(&call).is_some_and(current) {
            return;
        }
        let Some(hosted) = self.remove_hosted(call) else { return };
        self.process_done(cx, executor, call);
        self.hosted_over(cx, call, hosted, outcome, Holder::Executor(executor));
    }

    /// A process has one task less.
    pub(crate) fn process_done(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let first = process.calls.front() == Some(&call);
        process.calls.retain(|known| *known != call);
        let Some(group) = process.group else { return };
        self.dirty.group(group);
        if !first {
            return self.lend_place(executor);
        }
        let entry = &mut self.groups[group.0 as usize];
        let process_state = process.drained();
        match process_state {
            crate::executors::Was::Busy => {}
            crate::executors::Was::Blocked => {
                entry.blocked -= 1;
                entry.busy += 1;
            }
            crate::executors::Was::Resuming => {
                entry.resuming.retain(|waiting| *waiting != executor);
                entry.busy += 1;
            }
        }
        if let Some(next) = process.calls.front().copied() {
            process.runs_own = self.hosted.get(&next).is_some_and(|hosted| hosted.source == Source::Own);
            process.go_on();
            entry.hungry.push(executor);
            self.set_attempt_timer(cx, executor, next);
        } else {
            entry.busy -= 1;
            entry.working.remove(&executor);
            process.overdue_at = None;
            self.process_idle(cx, executor);
        }
    }

    /// Tells whoever wanted a task run how it ended.
    pub(crate) fn hosted_over(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        hosted: Hosted,
        outcome: Result<Vec<Value>, Failure>,
        writer: Holder,
    ) {
        let returns = match hosted.guest.as_deref() {
            Some(guest) => guest.returns,
            None => self.tasks.get(&call).map_or(0, |task| task.returns),
        };
        let outcome = self.checked(cx, returns, outcome).map_err(|failure| self.named(failure, call, &hosted));
        self.remember_task(cx, call, &hosted, outcome.as_ref().err());
        match hosted.source {
            Source::Own => {
                let outcome = outcome.and_then(|values| self.take_results(cx, call, values, writer));
                self.attempt_ended(cx, call, outcome);
            }
            Source::Peer { worker, .. } => {
                let outcome = outcome.and_then(|values| self.keep_results(cx, worker, call, values, writer));
                self.send_fenced(cx, worker, PeerBody::Done { call, attempt: hosted.attempt, outcome });
            }
            // It was cancelled, and has ended all the same.
            Source::Shell { ticket, .. } if !self.tickets.contains_key(&ticket) => {}
            Source::Shell { ticket, .. } => {
                let outcome = outcome.and_then(|values| self.keep_results(cx, self.worker, call, values, writer));
                let outcome = outcome.map(|values| {
                    (0..)
                        .zip(values)
                        .map(|(index, value)| self.shell_value(call.object(index), value))
                        .collect::<Vec<_>>()
                });
                match &outcome {
                    Ok(values) => self.pin_results(ticket, values),
                    Err(_) => {
                        self.tickets.remove(&ticket);
                        cx.shared.tickets.remove(&ticket);
                    }
                }
                cx.act(Action::FunctionEnded { ticket, outcome });
            }
            Source::Nobody => {}
        }
    }

    /// What the shell reads stays where it is until it is done.
    fn pin_results(&mut self, ticket: u64, values: &[Value]) {
        let shared = |value: &Value| match value.body {
            Body::Shared { object, .. } => Some(object),
            Body::Inline { .. } => None,
        };
        let names = self.keep_names(values.iter().filter_map(shared).collect());
        if let Some(Ticket::Function { pins, .. }) = self.tickets.get_mut(&ticket) {
            *pins = names;
        }
    }

    fn shell_value(&self, object: ObjectId, value: RemoteValue) -> Value {
        match value {
            RemoteValue::Inline { format, bytes, .. } => Value::inline(format, bytes),
            RemoteValue::Held { format, .. } => {
                self.own_value(object).unwrap_or_else(|| Value::inline(format, bytes::Bytes::new()))
            }
        }
    }

    /// Whether there are as many values as there should be.
    pub(crate) fn checked(
        &self,
        cx: &Context<'_>,
        returns: u32,
        outcome: Result<Vec<Value>, Failure>,
    ) -> Result<Vec<Value>, Failure> {
        let worker = cx.config.worker_name.as_str();
        let located = |failure: Failure| match failure.worker.is_empty() {
            true => Failure { worker: worker.to_owned(), ..failure },
            false => failure,
        };
        let values = outcome.map_err(located)?;
        if values.len() == returns as usize {
            return Ok(values);
        }
        let why = format!("it returned {} values in place of {returns}", values.len());
        Err(located(Failure::new(FailureKind::Mismatch, "", why)))
    }

    fn named(&self, failure: Failure, call: CallId, hosted: &Hosted) -> Failure {
        if !failure.task.is_empty() {
            return failure;
        }
        let name = match hosted.guest.as_deref() {
            Some(guest) => guest.function.to_string(),
            None => self.tasks.get(&call).map_or_else(String::new, |task| task.name().to_owned()),
        };
        Failure { task: name, ..failure }
    }

    /// Results of a call of this worker's own that ran here.
    pub(crate) fn take_results(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        values: Vec<Value>,
        writer: Holder,
    ) -> Result<Vec<Stored>, Failure> {
        let mut taken = Vec::with_capacity(values.len());
        for (index, value) in (0..).zip(values) {
            let object = call.object(index);
            let wanted = self.objects.get(&object).is_some_and(|record| record.state == ObjectState::Pending);
            taken.push(match wanted {
                true => self.take_result(cx, value, writer)?,
                // Its room is free again with the rest of the lease.
                false => Stored::inline(value.format(), bytes::Bytes::new(), Vec::new()),
            });
        }
        Ok(taken)
    }

    /// Takes a result. A process that lies is ended.
    pub(crate) fn take_result(
        &mut self,
        cx: &mut Context<'_>,
        value: Value,
        writer: Holder,
    ) -> Result<Stored, Refused> {
        self.take_value(writer, value).inspect_err(|refused| {
            if let (Refused::Broken(why), Holder::Executor(executor)) = (refused, writer) {
                self.broke_protocol(cx, executor, why);
            }
        })
    }

    /// Results of another worker's call that ran here: what is large, or names objects of others, is kept for it.
    pub(crate) fn keep_results(
        &mut self,
        cx: &mut Context<'_>,
        owner: WorkerId,
        call: CallId,
        values: Vec<Value>,
        writer: Holder,
    ) -> Result<Vec<RemoteValue>, Failure> {
        let mut kept = Vec::with_capacity(values.len());
        for (index, value) in (0..).zip(values) {
            kept.push(self.keep_result(cx, owner, call.object(index), value, writer)?);
        }
        Ok(kept)
    }

    pub(crate) fn keep_result(
        &mut self,
        cx: &mut Context<'_>,
        owner: WorkerId,
        object: ObjectId,
        value: Value,
        writer: Holder,
    ) -> Result<RemoteValue, Refused> {
        let here = self.objects.get(&object).and_then(Object::stored).filter(|stored| stored.is_here());
        let stored = match here {
            // Made again while there is a copy of the last one.
            Some(stored) => stored.clone(),
            None => self.take_result(cx, value, writer)?,
        };
        let remote = stored.to_remote(self.worker);
        if keeps(&stored, owner) {
            self.keep_for_owner(cx, object, stored);
        }
        Ok(remote)
    }

    pub(crate) fn keep_for_owner(&mut self, cx: &mut Context<'_>, object: ObjectId, stored: Stored) {
        let record = self.objects.entry(object).or_insert_with(|| Object::new(ObjectState::Pending, NO_INDEX));
        record.kept = true;
        if !matches!(record.state, ObjectState::Pending) && !record.holds_refs {
            // Known from elsewhere: from now on it holds what it names itself.
            let copied = crate::objects::ObjectEvent::Copied;
            let file = record.stored().and_then(Stored::file);
            if let Some(name) = stored.name()
                && record.state.apply(copied(name)).is_ok()
            {
                self.spill.named(name, object);
                if let Some(file) = file {
                    self.let_go_file(cx, file);
                }
            }
            let Some(record) = self.objects.get_mut(&object) else { return };
            record.holds_refs = true;
            let refs = stored.refs;
            return refs.iter().for_each(|inner| self.hold_use(cx, *inner));
        }
        self.make_object(cx, object, stored);
    }

    /// A task that was to run here cannot.
    pub(crate) fn hosted_task_failed(&mut self, cx: &mut Context<'_>, call: CallId, failure: Failure) {
        if let Some(hosted) = self.remove_hosted(call) {
            let group = hosted.group;
            self.groups[group.0 as usize].inbox.retain(|waiting| *waiting != call);
            self.hosted_over(cx, call, hosted, Err(failure), Holder::Worker);
            self.dirty.group(group);
        }
    }
}
