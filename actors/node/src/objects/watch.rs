//! Who waits for an object, and what they are told when it is there.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ObjectId};

use super::{FetchWaiter, Object, ObjectState, objects_of};
use crate::context::Context;
use crate::job::Job;

/// Who waits until an object has a value or never will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A task of this worker has it as an argument.
    Task(CallId),
    /// An actor call of this worker has it as an argument.
    Call(CallId),
    /// An actor of this worker has it as an argument of its constructor.
    Actor(ActorId),
    /// A statement reads it.
    Sql(u64),
    /// It is a result of a call of another job.
    Outside(CallId),
    /// A process wants to know.
    Watch { executor: ExecutorId, fetch: bool },
}

/// Has `waiter` told of those objects among arguments that have no value yet. How many these are, and why one of the others never will.
pub(crate) fn await_args(
    objects: &FxHashMap<ObjectId, Object>,
    waiters: &mut FxHashMap<ObjectId, Vec<Waiter>>,
    args: &[Arg],
    waiter: Waiter,
) -> (u32, Option<Arc<Failure>>) {
    let (mut missing, mut failed) = (0, None);
    for object in objects_of(args) {
        match objects.get(&object).map(|record| &record.state) {
            Some(ObjectState::Pending) => {
                missing += 1;
                waiters.entry(object).or_default().push(waiter);
            }
            Some(ObjectState::Failed(failure)) => failed = Some(failure.clone()),
            Some(ObjectState::Ready(_)) | None => {}
        }
    }
    (missing, failed)
}

impl Job {
    /// Whether all objects among arguments have values.
    pub(crate) fn have_values(&self, args: &[Arg]) -> bool {
        objects_of(args).all(|object| self.objects.get(&object).and_then(Object::stored).is_some())
    }

    /// A process wants to know when objects are there.
    pub(crate) fn watch(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        objects: Vec<ObjectId>,
        with_values: bool,
    ) {
        let mut ready = Vec::new();
        for object in objects {
            match self.objects.get(&object).map(|record| &record.state) {
                Some(ObjectState::Pending) => {
                    self.wait_for(object, Waiter::Watch { executor, fetch: with_values });
                }
                _ if with_values => self.give_value(cx, executor, object),
                _ => ready.push(object),
            }
        }
        if !ready.is_empty() {
            cx.send(executor, ToExecutor::Ready(ready));
        }
    }

    /// Whether an object has no value, and may have one yet.
    pub(crate) fn is_pending(&self, object: ObjectId) -> bool {
        self.objects.get(&object).is_some_and(|record| record.state == ObjectState::Pending)
    }

    pub(crate) fn wait_for(&mut self, object: ObjectId, waiter: Waiter) {
        self.waiters.entry(object).or_default().push(waiter);
    }

    /// Tells everyone who waits for an object that it has a value or never will.
    pub(crate) fn wake(&mut self, cx: &mut Context<'_>, object: ObjectId) {
        let Some(record) = self.objects.get(&object) else { return };
        if record.state == ObjectState::Pending {
            return;
        }
        let failed = match &record.state {
            ObjectState::Failed(failure) => Some(failure.clone()),
            ObjectState::Pending | ObjectState::Ready(_) => None,
        };
        self.resolve_for_borrowers(cx, object);
        for waiter in self.waiters.remove(&object).unwrap_or_default() {
            if let Waiter::Watch { executor, .. } = waiter {
                self.stuck.settled(executor, object);
            }
            match waiter {
                Waiter::Task(call) => self.task_argument_settled(cx, call, failed.as_deref()),
                Waiter::Call(call) => self.call_argument_settled(cx, call, failed.as_deref()),
                Waiter::Actor(actor) => self.actor_argument_settled(cx, actor, failed.as_deref()),
                Waiter::Sql(id) => self.table_again(cx, id, object),
                Waiter::Outside(call) => self.outside_settled(cx, call),
                Waiter::Watch { executor, .. } if !self.executors.contains_key(&executor) => {}
                Waiter::Watch { executor, fetch: true } => self.give_value(cx, executor, object),
                Waiter::Watch { executor, fetch: false } => cx.send(executor, ToExecutor::Ready(vec![object])),
            }
        }
    }

    /// Sends a process the value of an object that is settled, after getting it here.
    pub(crate) fn give_value(&mut self, cx: &mut Context<'_>, executor: ExecutorId, object: ObjectId) {
        let outcome = match self.objects.get(&object).map(|record| &record.state) {
            Some(ObjectState::Pending) => {
                return self.wait_for(object, Waiter::Watch { executor, fetch: true });
            }
            Some(ObjectState::Ready(stored)) if !stored.is_at_hand() => {
                return self.fetch_for(cx, object, FetchWaiter::Watch(executor));
            }
            Some(ObjectState::Ready(_)) => self.value_for(cx, executor, object).ok_or_else(not_here),
            Some(ObjectState::Failed(failure)) => Err(Failure::clone(failure)),
            None => Err(not_here()),
        };
        cx.send(executor, ToExecutor::Value { object, outcome });
    }
}

fn not_here() -> Failure {
    Failure::new(FailureKind::ObjectLost, "", "the object is not known here: whoever asked does not hold it")
}
