//! What happens when a process is gone: what it ran is charged, what it had queued is not, what it held is let go.
//!
//! What a process says last is lost with it. So of several tasks that it had the first may have ended, and a later one may have begun:
//! then none is charged, and each runs alone from then on.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{CallId, ExecutorId};
use tandem_arena::Holder;

use super::cause::failure_of;
use super::{ClassId, ExecutorState, Fate, Purpose};
use crate::context::Context;
use crate::event::ExitCause;
use crate::job::{Job, Life};

impl Job {
    /// A process was started, or could not be.
    pub(crate) fn executor_started(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        outcome: Result<u32, String>,
    ) {
        match outcome {
            Ok(pid) => {
                if let Some(process) = self.executors.get_mut(&executor) {
                    process.pid = Some(pid);
                }
            }
            Err(why) => {
                let failure =
                    Failure::new(FailureKind::ProcessLost, "", format!("its process could not be started: {why}"));
                self.executor_ended(cx, executor, failure);
            }
        }
    }

    /// A process and all it had started are gone.
    pub(crate) fn executor_gone(&mut self, cx: &mut Context<'_>, executor: ExecutorId, cause: &ExitCause) {
        let Some(process) = self.executors.get(&executor) else { return };
        let failure = failure_of(process.fate.as_ref(), cause);
        self.executor_ended(cx, executor, failure);
    }

    fn executor_ended(&mut self, cx: &mut Context<'_>, executor: ExecutorId, failure: Failure) {
        if self.life == Life::Ending {
            return self.gone_after_end(cx, executor);
        }
        let failure = Failure { worker: cx.config.worker_name.clone(), ..failure };
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let (purpose, fate) = (process.purpose, process.fate.clone());
        let silent = process.state == ExecutorState::Starting;
        // Nothing more goes there.
        process.fate.get_or_insert(Fate::JobEnded);
        if let Purpose::Tasks(class) = purpose {
            self.task_process_gone(cx, executor, class, fate.as_ref(), &failure);
        }
        self.let_go_all(executor);
        self.streams_of_gone(cx, executor);
        self.stuck.gone(executor);
        self.executors.remove(&executor);
        cx.shared.executors.remove(&executor);
        match purpose {
            Purpose::Driver => self.driver_gone(cx, executor, silent, fate, failure),
            Purpose::Tasks(class) if silent && matches!(fate, None | Some(Fate::Broken(_))) => {
                self.start_failed(cx, class, &failure);
            }
            Purpose::Tasks(class) => self.dirty_class(class),
            Purpose::Actor(actor) => self.actor_process_gone(cx, actor, executor, fate, failure),
            Purpose::Light => self.light_process_gone(cx, executor, &failure),
        }
    }

    fn task_process_gone(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        class: ClassId,
        fate: Option<&Fate>,
        failure: &Failure,
    ) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let (state, group) = (process.state, process.group);
        let mut calls = std::mem::take(&mut process.calls);
        let begun = calls.front().is_some_and(|call| process.began(*call).is_some());
        let runs = state == ExecutorState::Busy;
        // It was ended because of the first one, or that waited.
        let first_is_known = !runs || matches!(fate, Some(Fate::TimedOut | Fate::Cancelled)) || calls.len() == 1;
        let charged = if first_is_known {
            calls.pop_front_if(|call| begun || !runs || !self.spare(*call))
        } else {
            calls.iter().for_each(|call| _ = self.spare(*call));
            None
        };
        let hosted = charged.and_then(|call| self.remove_hosted(call).map(|hosted| (call, hosted)));
        if let Some(group) = group {
            let entry = &mut self.groups[group.0 as usize];
            match state {
                ExecutorState::Busy | ExecutorState::Blocking(_) => entry.busy -= 1,
                ExecutorState::Blocked(_) => entry.blocked -= 1,
                ExecutorState::Resuming(_) => entry.resuming.retain(|waiting| *waiting != executor),
                ExecutorState::Starting | ExecutorState::Idle => {}
            }
            entry.working.remove(&executor);
            self.dirty.group(group);
        }
        for call in calls.into_iter().rev() {
            self.back_from_process(cx, call);
        }
        if let Some((call, hosted)) = hosted {
            self.hosted_over(cx, call, hosted, Err(failure.clone()), Holder::Worker);
        }
        let entry = &mut self.classes[class.0 as usize];
        entry.idle.remove(&executor);
        entry.live = entry.live.saturating_sub(1);
        self.task_executors = self.task_executors.saturating_sub(1);
        if state == ExecutorState::Starting {
            entry.starting = entry.starting.saturating_sub(1);
        }
    }

    /// A task was at a process that died, and may have begun there or not. Whether that is not counted: it is if the task may not
    /// run twice, and if it was alone.
    fn spare(&mut self, call: CallId) -> bool {
        let task = match self.hosted.get_mut(&call).and_then(|hosted| hosted.guest.as_deref_mut()) {
            Some(guest) => Some((guest.is_alone(), &mut guest.spared)),
            None => self.tasks.get_mut(&call).map(|task| (task.is_alone(), &mut task.spared)),
        };
        let Some((alone, spared)) = task else { return false };
        *spared |= !alone;
        !alone
    }

    /// What it held and had mapped.
    fn let_go_all(&mut self, executor: ExecutorId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let mut held: Vec<_> = std::mem::take(&mut process.held).into_iter().collect();
        held.sort_unstable();
        held.into_iter().for_each(|object| self.process_let_go(object));
        self.space_of_gone(executor);
        self.forget_sql_of(executor);
    }

    /// A process for tasks ended before it said anything. When that happens again and again, what it was for fails.
    fn start_failed(&mut self, cx: &mut Context<'_>, class: ClassId, failure: &Failure) {
        let entry = &mut self.classes[class.0 as usize];
        entry.failed += 1;
        if entry.failed < cx.config.max_failed_starts {
            return self.dirty_class(class);
        }
        entry.failed = 0;
        for group in entry.groups.clone() {
            while let Some(call) = self.groups[group.0 as usize].inbox.pop_front() {
                self.hosted_task_failed(cx, call, failure.clone());
            }
            let Some(shape) = self.groups[group.0 as usize].shape else { continue };
            while let Some(call) = self.next_task(cx, shape) {
                let name = self.tasks.get(&call).map_or_else(String::new, |task| task.name().to_owned());
                // It is out of the queue already.
                self.queues[shape.0 as usize].queued += 1;
                self.finish_task(cx, call, Err(Failure { task: name, ..failure.clone() }));
            }
        }
        self.dirty_class(class);
    }

    pub(crate) fn dirty_class(&mut self, class: ClassId) {
        for group in self.classes[class.0 as usize].groups.clone() {
            self.dirty.group(group);
        }
    }
}
