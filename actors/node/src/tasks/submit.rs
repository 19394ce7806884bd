//! Takes what processes submit, and waits until its arguments are there.

use std::sync::Arc;

use tandem_actor_protocol::call::TaskSpec;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{CallId, ExecutorId, ProcessNumber};

use super::{Queue, ShapeId, Task, TaskEvent, TaskState};
use crate::context::Context;
use crate::job::Job;
use crate::objects::{Object, ObjectState, Refused, Waiter, await_args};

/// A process may not ask for more objects of one call.
pub(crate) const MAX_RETURNS: u32 = 1 << 20;

impl Job {
    /// A process submits a task, which may be for a bundle.
    pub(crate) fn submit(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        spec: TaskSpec,
        bundle: Option<BundleId>,
    ) {
        let TaskSpec { call, function, args, returns, parent, options } = spec;
        if !self.may_make(executor, call, returns) {
            return self.broke_protocol(cx, executor, &format!("{call} is not its to submit"));
        }
        self.make_results(cx, executor, call, returns);
        if let Some(why) = options.as_deref().and_then(|options| options.shape.refuse()) {
            let failure = Arc::new(Failure::new(FailureKind::Unschedulable, function, why));
            return (0..returns).for_each(|index| self.break_object(call.object(index), failure.clone()));
        }
        let args = match self.take_args(cx, executor, args) {
            Ok(args) => args,
            Err(Refused::Broken(why)) => return self.broke_protocol(cx, executor, &why),
            Err(Refused::Full(why)) => {
                let failure = Arc::new(Failure::new(FailureKind::StoreFull, function, why));
                return (0..returns).for_each(|index| self.break_object(call.object(index), failure.clone()));
            }
        };
        let shape = match (&options, bundle) {
            (Some(options), _) => self.shape_id(&options.leased(), bundle),
            (None, Some(_)) => self.shape_id(&Shape::one_cpu(), bundle),
            (None, None) => ShapeId(0),
        };
        if let Some(parent) = parent {
            self.children.insert((parent, call));
        }
        let task = Task {
            function: self.intern(&function),
            args,
            parent: parent.into(),
            options,
            returns,
            shape,
            state: TaskState::Finished,
            attempt: 0,
            failures: 0,
            live: returns,
            rebuilds: 0,
            spared: false,
        };
        self.tasks.insert(call, Box::new(task));
        self.queues[shape.0 as usize].tasks += 1;
        self.ready_or_wait(cx, call, false);
    }

    /// Whether a process may make these ids, and nobody has made them before.
    pub(crate) fn may_make(&self, executor: ExecutorId, call: CallId, returns: u32) -> bool {
        let process = self.executors.get(&executor).and_then(|process| process.process);
        let first = call.object(0);
        process == Some(ProcessNumber::of(first))
            && call.owner() == self.worker
            && returns <= MAX_RETURNS
            && !self.tasks.contains_key(&call)
            && !self.calls.contains_key(&call)
            && (0..returns).all(|index| !self.objects.contains_key(&call.object(index)))
    }

    /// The objects of a call, held by the process that made it.
    pub(crate) fn make_results(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId, returns: u32) {
        for index in 0..returns {
            let object = call.object(index);
            self.objects.insert(object, Object::new(ObjectState::Pending, index));
            self.hold_by_process(cx, executor, object);
        }
    }

    /// A function's name, kept once for all its tasks.
    pub(crate) fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    /// The number of a shape in a bundle or anywhere, with a queue for it.
    pub(crate) fn shape_id(&mut self, shape: &Shape, bundle: Option<BundleId>) -> ShapeId {
        let (id, new) = self.shapes.id(shape, bundle);
        if new {
            self.queues.resize_with(self.queues.len().max(id.0 as usize + 1), Queue::vacant);
            self.queues[id.0 as usize] = Queue::new(shape.clone(), bundle);
        }
        id
    }

    /// Queues a task that is not under way, or has it wait for its arguments, or fails it if one of them has failed.
    pub(crate) fn ready_or_wait(&mut self, cx: &mut Context<'_>, call: CallId, first: bool) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        let waiter = Waiter::Task(call);
        let (missing, failed) = await_args(&self.objects, &mut self.waiters, &task.args, waiter);
        if task.state.apply(TaskEvent::Back { missing }).is_err() {
            return;
        }
        match failed {
            Some(failure) => self.dependency_failed(cx, call, &failure),
            None if missing == 0 => self.enqueue(cx, call, first),
            None => {}
        }
    }

    /// An argument of a task has a value now, or never will.
    pub(crate) fn task_argument_settled(&mut self, cx: &mut Context<'_>, call: CallId, failed: Option<&Failure>) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        if !matches!(task.state, TaskState::Waiting { .. }) {
            return;
        }
        if let Some(failure) = failed {
            return self.dependency_failed(cx, call, failure);
        }
        let _ = task.state.apply(TaskEvent::ArgumentThere);
        if task.state == TaskState::Queued {
            self.enqueue(cx, call, false);
        }
    }

    fn dependency_failed(&mut self, cx: &mut Context<'_>, call: CallId, cause: &Failure) {
        let Some(task) = self.tasks.get_mut(&call) else { return };
        let failure = dependency(task.name(), cause);
        if task.state == TaskState::Queued {
            // It is not in the queue: nothing has put it there yet.
            let _ = task.state.apply(TaskEvent::Back { missing: 1 });
        }
        self.finish_task(cx, call, Err(failure));
    }
}

/// Why what needs a failed argument fails.
pub(crate) fn dependency(name: &str, cause: &Failure) -> Failure {
    Failure {
        cause: Some(Box::new(cause.clone())),
        ..Failure::new(FailureKind::Dependency, name, "an argument has no value")
    }
}
