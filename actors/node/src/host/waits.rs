//! Tasks that wait for objects: they give their place to others meanwhile, and get one again before any new task does.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::{CallId, ExecutorId};

use super::GroupId;
use crate::context::Context;
use crate::executors::{Executor, ExecutorState};
use crate::job::Job;

impl Job {
    /// A task waits for objects.
    pub(crate) fn blocked(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        if process.group.is_none() || process.calls.front() != Some(&call) || !process.block(call) {
            return;
        }
        self.lend_place(executor);
        self.recall_behind_waiting(cx, executor);
    }

    /// A process gives back what it has queued when its task begins to wait, but not what is on its way there.
    pub(crate) fn recall_behind_waiting(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let blocking = |process: &Executor| matches!(process.state, ExecutorState::Blocking(_));
        if self.executors.get(&executor).is_some_and(blocking) {
            self.recall(cx, executor, u32::MAX);
        }
    }

    /// The place of a task that waits is for others as soon as its process has nothing else.
    pub(crate) fn lend_place(&mut self, executor: ExecutorId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let Some(group) = process.group.filter(|_| process.lend()) else { return };
        let own = process.runs_own;
        let entry = &mut self.groups[group.0 as usize];
        entry.busy -= 1;
        entry.blocked += 1;
        self.count_here(group, own, -1);
        self.dirty.group(group);
    }

    /// A process has begun a task.
    pub(crate) fn began(&mut self, cx: &Context<'_>, executor: ExecutorId, call: CallId) {
        if let Some(process) = self.executors.get_mut(&executor) {
            process.began = Some((call, cx.now));
        }
    }

    /// A task has what it waited for. What is no task has kept its place.
    pub(crate) fn unblocked(&mut self, cx: &mut Context<'_>, executor: ExecutorId, call: CallId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        let Some(group) = process.group else {
            return cx.send(executor, ToExecutor::Resume(call));
        };
        if !process.unblock(call) {
            return;
        }
        if process.state == ExecutorState::Busy {
            // It has its place still.
            return cx.send(executor, ToExecutor::Resume(call));
        }
        let entry = &mut self.groups[group.0 as usize];
        entry.blocked -= 1;
        entry.resuming.push_back(executor);
        self.dirty.group(group);
        if !self.groups[group.0 as usize].can_resume() {
            self.recall_for_resuming(cx, group);
        }
    }

    /// One of the processes that work is not to begin what it has queued, so that its place is free soon.
    fn recall_for_resuming(&mut self, cx: &mut Context<'_>, group: GroupId) {
        let queues = |executor: &&ExecutorId| {
            let process = self.executors.get(executor);
            process.is_some_and(|process| process.is_busy() && !process.recalling && process.calls.len() > 1)
        };
        let found = self.groups[group.0 as usize].working.iter().find(queues).copied();
        if let Some(executor) = found {
            self.recall(cx, executor, u32::MAX);
        }
    }

    /// There are fewer places than processes that work: so many are not to begin what they have queued.
    pub(crate) fn recall_over(&mut self, cx: &mut Context<'_>, group: GroupId) {
        let entry = &self.groups[group.0 as usize];
        let over = entry.busy.saturating_sub(entry.places());
        for _ in 0..over {
            self.recall_for_resuming(cx, group);
        }
    }

    /// Counts tasks of this worker's own that need a lease.
    pub(crate) fn count_here(&mut self, group: GroupId, own: bool, by: isize) {
        if own && let Some(shape) = self.groups[group.0 as usize].shape {
            let here = &mut self.queues[shape.0 as usize].here;
            *here = here.saturating_add_signed(by);
            self.dirty.queue(shape);
        }
    }
}
