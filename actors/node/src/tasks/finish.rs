//! What becomes of a task when an attempt of it has ended.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, CallId, ObjectId, PlacementGroupId, WorkerId};

use super::{Task, TaskEvent, TaskState};
use crate::context::Context;
use crate::job::Job;
use crate::objects::{Object, ObjectState, Stored};

impl Job {
    /// An attempt has ended where the task was placed.
    pub(crate) fn attempt_ended(&mut self, cx: &mut Context<'_>, call: CallId, outcome: Result<Vec<Stored>, Failure>) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        let cancelled = matches!(task.state, TaskState::Placed { cancelled: true, .. });
        if self.streams.takes_restart(call) && !cancelled {
            task.attempt += 1;
            return self.ready_or_wait(cx, call, true);
        }
        let failure = match outcome {
            Ok(values) => return self.finish_task(cx, call, Ok(values)),
            Err(failure) => failure,
        };
        if cancelled && failure.kind != FailureKind::Cancelled {
            let failure = Failure { kind: FailureKind::Cancelled, ..complete(failure, task) };
            return self.finish_task(cx, call, Err(failure));
        }
        if task.retries(&failure) {
            task.failures += 1;
            task.attempt += 1;
            return self.ready_or_wait(cx, call, true);
        }
        let failure = complete(failure, task);
        self.finish_task(cx, call, Err(failure));
    }

    /// A task is done for now: its objects have values, or never will.
    pub(crate) fn finish_task(&mut self, cx: &mut Context<'_>, call: CallId, outcome: Result<Vec<Stored>, Failure>) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        if task.state == TaskState::Queued {
            self.queues[task.shape.0 as usize].forget_one();
        }
        self.dirty_shape(call);
        if let Err(failure) = &outcome {
            self.remember_unplaced(cx, call, failure);
        }
        let Some(task) = self.tasks.get_mut(&call) else { return };
        if task.state.apply(TaskEvent::Finish).is_err() {
            return;
        }
        let returns = task.returns;
        if let Some(parent) = task.parent.call() {
            self.children.remove(&(parent, call));
        }
        let lineage = outcome.as_ref().is_ok_and(|values| values.iter().any(|value| !value.is_at_hand()));
        let failure = match outcome {
            Ok(values) => {
                for (index, stored) in (0..).zip(values) {
                    self.result(cx, call.object(index), stored);
                }
                None
            }
            Err(failure) => {
                let failure = std::sync::Arc::new(failure);
                (0..returns).for_each(|index| self.break_object(call.object(index), failure.clone()));
                Some(failure)
            }
        };
        let lineage = self.end_stream(call, failure.as_ref()) || lineage;
        if !lineage || self.tasks.get(&call).is_some_and(|task| task.live == 0) {
            self.forget_task(call);
        }
    }

    /// One of the results of a call of this worker.
    pub(crate) fn result(&mut self, cx: &mut Context<'_>, object: ObjectId, stored: Stored) {
        let pending = self.objects.get(&object).is_some_and(|record| record.state == ObjectState::Pending);
        if pending {
            return self.make_object(cx, object, stored);
        }
        // Nobody waits for it: whoever keeps it may drop it, unless that is what is known already.
        let known = self.objects.get(&object).and_then(Object::stored).and_then(|stored| stored.keeper);
        if let Some(keeper) = stored.keeper.filter(|keeper| known != Some(*keeper)) {
            self.peers.dropping.entry(keeper).or_default().push(object);
        }
    }

    /// What another worker sent as the result of a call, with who keeps something of it.
    pub(crate) fn stored_result(&self, from: WorkerId, value: tandem_actor_protocol::peer::RemoteValue) -> Stored {
        let mut stored = Stored::from_remote(value);
        if keeps(&stored, self.worker) {
            stored.keeper = Some(from);
        }
        stored
    }

    /// Nobody holds one of the objects of a call any more.
    pub(crate) fn lineage_let_go(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(task) = self.tasks.get_mut(&call) else {
            self.forget_proxy(ActorId(call.0));
            return self.group_let_go(cx, PlacementGroupId(call.0));
        };
        task.live = task.live.saturating_sub(1);
        if task.live == 0 && task.state == TaskState::Finished {
            self.forget_task(call);
        }
    }

    fn forget_task(&mut self, call: CallId) {
        if let Some(task) = self.tasks.remove(&call) {
            self.streams.forget(call);
            self.drop_args(&task.args);
            let queue = &mut self.queues[task.shape.0 as usize];
            queue.tasks -= 1;
            if queue.bundle.is_some() {
                self.dirty.queue(task.shape);
            }
        }
    }

    /// Whether a finished task may run again for an object that cannot be read from a worker that lives. That is so when this worker has
    /// not heard yet that it is gone, but also when the way there is broken, and then running it again does not help.
    pub(crate) fn may_rebuild(&mut self, call: CallId) -> bool {
        // A stream starts again for an item before it has ended.
        let again = |task: &&mut Box<Task>| task.state == TaskState::Finished || self.streams.contains(call);
        let Some(task) = self.tasks.get_mut(&call).filter(again) else { return true };
        task.rebuilds = task.rebuilds.saturating_add(1);
        task.rebuilds <= MOST_REBUILDS
    }

    /// An object of a finished task is lost: runs it again. False: it cannot be.
    pub(crate) fn run_again(&mut self, cx: &mut Context<'_>, call: CallId) -> bool {
        let Some(task) = self.tasks.get_mut(&call) else { return false };
        if task.state == TaskState::Finished {
            task.attempt += 1;
            if let Some(parent) = task.parent.call() {
                self.children.insert((parent, call));
            }
            self.ready_or_wait(cx, call, true);
        }
        true
    }
}

/// After so many times it is not the workers that are lost.
pub(crate) const MOST_REBUILDS: u8 = 10;

/// Whether the host of a call keeps something of a result until its owner lets go: the bytes, or what it names of others.
pub(crate) fn keeps(stored: &Stored, owner: WorkerId) -> bool {
    stored.is_large() || stored.refs.iter().any(|inner| tandem_actor_protocol::object_owner(*inner) != owner)
}

/// What a task's failure must say.
fn complete(failure: Failure, task: &Task) -> Failure {
    let named = if failure.task.is_empty() { task.name().to_owned() } else { failure.task };
    Failure { task: named, attempts: task.failures + 1, ..failure }
}
