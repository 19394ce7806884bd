//! Takes tasks that are to run here, gets their arguments, and has them run.

use tandem_actor_protocol::call::{Arg, TaskSpec};
use tandem_actor_protocol::executor::{Run, ToExecutor};
use tandem_actor_protocol::peer::{PeerBody, RemoteValue};
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, WorkerId};

use super::task::{Guest, PhaseEvent};
use super::{GroupId, Hosted, Phase, Source};
use crate::context::Context;
use crate::executors::Fate;
use crate::job::Job;
use crate::objects::{FetchWaiter, NO_INDEX, Object, ObjectState, Stored, objects_of};
use crate::tasks::Wanted;
use crate::timers::{Timer, Timestamp};

/// A task of another worker as it comes, maybe before the grant of its lease.
#[derive(Debug)]
pub(crate) struct PeerRun {
    pub(crate) worker: WorkerId,
    pub(crate) task: TaskSpec,
    pub(crate) attempt: u32,
    pub(crate) resolved: Vec<(ObjectId, RemoteValue)>,
    /// The items that are wanted of it, if it yields any.
    pub(crate) wanted: Option<Box<Wanted>>,
}

impl Job {
    /// Another worker wants a task run on a lease that it has here.
    pub(crate) fn run_for_peer(&mut self, cx: &mut Context<'_>, lease: u64, run: PeerRun) {
        let (worker, call) = (run.worker, run.task.call);
        if self.hosted.contains_key(&call) {
            return;
        }
        let Some(group) = self.host_leases.get(&lease).map(|lease| lease.group) else {
            if self.ended_leases.contains(lease) {
                return self.send_peer(cx, worker, PeerBody::NoPlace { lease, calls: vec![call] });
            }
            cx.timer(cx.config.unknown_lease_ms, self.id, Timer::UnknownLease(lease));
            self.early.entry(lease).or_default().push(run);
            return;
        };
        if !self.has_place(group, worker) {
            return self.send_peer(cx, worker, PeerBody::NoPlace { lease, calls: vec![call] });
        }
        let PeerRun { task, attempt, resolved, wanted, .. } = run;
        let TaskSpec { function, args, returns, options, .. } = task;
        let args = self.guest_args(args, resolved);
        let function = self.intern(&function);
        let guest = Guest { function, args, returns, options, cancelled: false, spared: false, wanted };
        let source = Source::Peer { worker, lease };
        self.host_task(cx, call, Hosted { source, attempt, group, phase: Phase::Inbox, guest: Some(Box::new(guest)) });
    }

    /// The lease has come for which tasks have waited.
    pub(crate) fn unknown_lease_came(&mut self, cx: &mut Context<'_>, lease: u64) {
        for run in self.early.remove(&lease).unwrap_or_default() {
            self.run_for_peer(cx, lease, run);
        }
        self.early_starts_came(cx, lease);
    }

    /// More items are wanted of a task that waits for the grant of its lease.
    pub(crate) fn want_items_of_early(&mut self, from: WorkerId, call: CallId, items: Vec<ObjectId>) {
        let mut runs = self.early.values_mut().flatten();
        let run = runs.find(|run| run.task.call == call && run.worker == from);
        if let Some(wanted) = run.and_then(|run| run.wanted.as_deref_mut()) {
            items.into_iter().for_each(|item| _ = wanted.push(item));
        }
    }

    /// Takes out a task that waits for the grant of its lease. False: it does not.
    pub(crate) fn forget_early(&mut self, call: CallId) -> bool {
        let before: usize = self.early.values().map(Vec::len).sum();
        self.early.values_mut().for_each(|runs| runs.retain(|run| run.task.call != call));
        self.early.retain(|_, runs| !runs.is_empty());
        self.early.values().map(Vec::len).sum::<usize>() < before
    }

    /// The lease does not come.
    pub(crate) fn unknown_lease_overdue(&mut self, cx: &mut Context<'_>, lease: u64) {
        for PeerRun { worker, task, .. } in self.early.remove(&lease).unwrap_or_default() {
            self.send_peer(cx, worker, PeerBody::NoPlace { lease, calls: vec![task.call] });
        }
        self.early_starts_overdue(cx, lease);
    }

    /// The arguments of something that is hosted here: small values in place, large ones as objects that are held while it is here.
    pub(crate) fn guest_args(&mut self, args: Vec<Arg>, resolved: Vec<(ObjectId, RemoteValue)>) -> Box<[Arg]> {
        let mut resolved = resolved.into_iter();
        let mut place = |arg: Arg| {
            let Arg::Object(object) = arg else { return arg };
            match resolved.next() {
                Some((_, RemoteValue::Inline { format, bytes, refs })) => {
                    Arg::Value(Value { body: Body::Inline { format, bytes }, refs })
                }
                Some((_, held @ RemoteValue::Held { .. })) => {
                    let record =
                        self.objects.entry(object).or_insert_with(|| Object::new(ObjectState::Pending, NO_INDEX));
                    record.guests += 1;
                    let mut stored = Stored::from_remote(held);
                    if stored.remote() == Some(self.worker) {
                        // It was said to be here, and is not any more; reading it will tell.
                        stored.keeper = None;
                    }
                    self.know_object(object, stored);
                    Arg::Object(object)
                }
                None => Arg::Object(object),
            }
        };
        args.into_iter().map(&mut place).collect()
    }

    /// Gets the arguments of a task here, then has it wait for its turn.
    pub(crate) fn host_task(&mut self, cx: &mut Context<'_>, call: CallId, mut hosted: Hosted) {
        let group = hosted.group;
        if hosted.source == Source::Own
            && let Some(shape) = self.groups[group.0 as usize].shape
        {
            self.queues[shape.0 as usize].here += 1;
        }
        let elsewhere = self.args_elsewhere(self.args_of(call, hosted.guest.as_deref()));
        if elsewhere.is_empty() {
            self.add_hosted(call, hosted);
            self.groups[group.0 as usize].inbox.push_back(call);
            return self.dirty.group(group);
        }
        if elsewhere.iter().any(|object| self.is_on_disk(*object)) {
            let objects = objects_of(self.args_of(call, hosted.guest.as_deref())).collect();
            hosted.phase = Phase::Fetching { missing: 1 };
            self.add_hosted(call, hosted);
            return self.gather(FetchWaiter::Task(call), objects);
        }
        hosted.phase = Phase::Fetching { missing: u32::try_from(elsewhere.len()).unwrap_or(u32::MAX) };
        self.add_hosted(call, hosted);
        for object in elsewhere {
            self.fetch_for(cx, object, FetchWaiter::Task(call));
        }
    }

    pub(super) fn add_hosted(&mut self, call: CallId, hosted: Hosted) {
        self.groups[hosted.group.0 as usize].hosted += 1;
        self.hosted.insert(call, hosted);
    }

    pub(crate) fn args_of<'a>(&'a self, call: CallId, guest: Option<&'a Guest>) -> &'a [Arg] {
        match guest {
            Some(guest) => &guest.args,
            None => self.tasks.get(&call).map_or(&[], |task| &task.args),
        }
    }

    /// The objects among arguments that are not at hand.
    pub(crate) fn args_elsewhere(&self, args: &[Arg]) -> Vec<ObjectId> {
        let stored = |object: &ObjectId| self.objects.get(object).and_then(Object::stored);
        objects_of(args).filter(|object| stored(object).is_some_and(|stored| !stored.is_at_hand())).collect()
    }

    /// One argument more of a task is here. By now its place may be gone.
    pub(crate) fn task_argument_here(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(hosted) = self.hosted.get_mut(&call) else { return };
        if hosted.phase.apply(PhaseEvent::ArgumentHere).is_ok() && hosted.phase == Phase::Inbox {
            let (source, group) = (hosted.source, hosted.group);
            if let Source::Peer { worker, .. } = source
                && !self.has_place(group, worker)
            {
                return self.send_back(cx, worker, vec![call]);
            }
            self.groups[group.0 as usize].inbox.push_back(call);
            self.dirty.group(group);
        }
    }

    /// An argument could not be read from where it was said to be.
    pub(crate) fn task_argument_unreadable(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        object: ObjectId,
        from: WorkerId,
    ) {
        let Some(hosted) = self.hosted.get(&call) else { return };
        match hosted.source {
            Source::Own => {
                self.remove_hosted(call);
                match self.cannot_read(call, self.worker, from) {
                    Some((_, failure)) => self.finish_task(cx, call, Err(failure)),
                    None => self.ready_or_wait(cx, call, true),
                }
            }
            Source::Peer { worker, .. } => {
                self.remove_hosted(call);
                self.send_peer(cx, worker, PeerBody::CannotRead { object, worker: from, calls: vec![call] });
            }
            Source::Shell { .. } | Source::Nobody => {
                let why = "an argument could not be read";
                let kind = tandem_actor_protocol::failure::FailureKind::ObjectLost;
                let failure = tandem_actor_protocol::failure::Failure::new(kind, "", why);
                self.hosted_task_failed(cx, call, failure);
            }
        }
    }

    /// Gives a task to a process that works for its group or is idle. False: its arguments are not here.
    pub(crate) fn give_task(
        &mut self,
        cx: &mut Context<'_>,
        group: GroupId,
        executor: ExecutorId,
        call: CallId,
    ) -> bool {
        let Some(run) = self.build_run(cx, executor, call) else { return false };
        let Some(hosted) = self.hosted.get_mut(&call) else { return false };
        let _ = hosted.phase.apply(PhaseEvent::Send(executor));
        let Some(process) = self.executors.get_mut(&executor) else { return false };
        process.calls.push_back(call);
        if process.calls.len() == 1 {
            process.group = Some(group);
            process.given();
            let entry = &mut self.groups[group.0 as usize];
            entry.busy += 1;
            entry.working.insert(executor);
            self.set_attempt_timer(cx, executor, call);
        }
        cx.send(
            executor,
            match self.wanted_of(call).map(Wanted::ranges) {
                Some(wanted) => ToExecutor::RunStream { run, wanted },
                None => ToExecutor::Run(run),
            },
        );
        true
    }

    /// A task has become the first one of a process: from now on its time counts.
    pub(crate) fn set_attempt_timer(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId) {
        let timeout_ms = self.options_of(call).map_or(0, |options| options.timeout_ms);
        let overdue_at = cx.now.after(timeout_ms.saturating_add(cx.config.stop_grace_ms));
        if let Some(process) = self.executors.get_mut(&executor) {
            process.overdue_at = (timeout_ms > 0).then_some(overdue_at);
        }
        self.watch_attempt(cx, executor);
    }

    /// Has the time of a process's first task looked at. One timer is enough for all tasks of the process, unless a later one may
    /// take less time.
    fn watch_attempt(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let Some(at) = process.overdue_at.filter(|at| process.overdue_timer.is_none_or(|set| *at < set)) else {
            return;
        };
        process.overdue_timer = Some(at);
        cx.shared.timers.set(at, self.id, Timer::Attempt { executor, at });
    }

    /// The first task of a process may have taken longer than it may, and the process has not ended it.
    pub(crate) fn attempt_overdue(&mut self, cx: &mut Context<'_>, executor: ExecutorId, at: Timestamp) {
        let Some(process) = self.executors.get_mut(&executor).filter(|process| process.overdue_timer == Some(at))
        else {
            return;
        };
        process.overdue_timer = None;
        if process.overdue_at.is_some_and(|at| at <= cx.now) {
            return self.stop_executor(cx, executor, Fate::TimedOut, true);
        }
        self.watch_attempt(cx, executor);
    }

    pub(crate) fn options_of(&self, call: CallId) -> Option<&tandem_actor_protocol::call::TaskOptions> {
        match self.hosted.get(&call)?.guest.as_deref() {
            Some(guest) => guest.options.as_deref(),
            None => self.tasks.get(&call)?.options.as_deref(),
        }
    }

    fn build_run(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId) -> Option<Run> {
        let hosted = self.hosted.get(&call)?;
        let attempt = hosted.attempt;
        let (function, args, returns, options) = match hosted.guest.as_deref() {
            Some(guest) => (&guest.function, &guest.args, guest.returns, &guest.options),
            None => {
                let task = self.tasks.get(&call)?;
                (&task.function, &task.args, task.returns, &task.options)
            }
        };
        let (timeout_ms, environment) = options
            .as_deref()
            .map_or_else(Default::default, |options| (options.timeout_ms, options.environment.clone()));
        let function = function.to_string();
        let args = args.to_vec();
        let args = self.values_for(cx, executor, args)?;
        Some(Run { call, attempt, function, actor: None, args, returns, timeout_ms, environment })
    }

    /// Arguments as a process reads them. None: some are not here, and nothing is pinned.
    pub(crate) fn values_for(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        args: Vec<Arg>,
    ) -> Option<Vec<Value>> {
        let mut values = Vec::with_capacity(args.len());
        for arg in &args {
            let value = match arg {
                Arg::Value(value) => Some(value.clone()),
                Arg::Object(object) => self.value_for(cx, executor, *object),
            };
            let Some(value) = value else {
                self.unpin_values(executor, &values);
                return None;
            };
            values.push(value);
        }
        Some(values)
    }

    /// Values that a process was not sent after all.
    fn unpin_values(&mut self, executor: ExecutorId, values: &[Value]) {
        for value in values {
            if let Body::Shared { object, .. } = value.body {
                self.unpin(tandem_arena::Holder::Executor(executor), object);
            }
        }
    }
}
