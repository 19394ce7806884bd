//! Who gets a place next: those who had one and waited, then actors, then new tasks.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId};

use super::task::PhaseEvent;
use super::{Group, GroupId, Hosted, Phase, Source};
use crate::context::Context;
use crate::executors::Executor;
use crate::job::Job;
use crate::objects::{FetchWaiter, objects_of};
use crate::tasks::{ShapeId, TaskEvent};

/// What else the process has that a task is to be given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Others,
}

impl Job {
    pub(crate) fn groups_of(&self, shape: ShapeId) -> impl Iterator<Item = &Group> {
        let ids = self.shape_groups.get(&shape).map_or(&[][..], Vec::as_slice);
        ids.iter().map(|id| &self.groups[id.0 as usize])
    }

    /// Places that a shape has here.
    pub(crate) fn places_of(&self, shape: ShapeId) -> usize {
        self.groups_of(shape).map(|group| group.places() as usize).sum()
    }

    /// Places that are free here for new tasks of a shape.
    pub(crate) fn free_places_of(&self, shape: ShapeId) -> usize {
        self.groups_of(shape).map(|group| group.free() as usize).sum()
    }

    /// Tasks that could run in a group.
    pub(crate) fn work_of(&self, id: GroupId) -> usize {
        let group = &self.groups[id.0 as usize];
        let queued = group.shape.map_or(0, |shape| self.queues[shape.0 as usize].queued);
        group.inbox.len() + queued
    }

    /// Uses what places a group has.
    pub(crate) fn dispatch(&mut self, cx: &mut Context<'_>, id: GroupId) {
        self.resume_waiting(cx, id);
        while let Some(place) = self.groups[id.0 as usize].returnable() {
            match self.groups[id.0 as usize].shape {
                Some(_) => self.return_lease(cx, place),
                None => self.free_place(cx, place),
            }
        }
        self.start_actors(cx, id);
        self.start_tasks(cx, id);
        self.top_up(cx, id);
        self.watch_spare(cx, id);
        self.ask_back(cx, id);
    }

    fn resume_waiting(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let group = &mut self.groups[id.0 as usize];
        while group.can_resume() {
            let Some(executor) = group.resuming.pop_front() else { return };
            let Some(process) = self.executors.get_mut(&executor) else { continue };
            let Some(call) = process.resumed() else { continue };
            group.busy += 1;
            if let (Some(shape), true) = (group.shape, process.runs_own) {
                self.queues[shape.0 as usize].here += 1;
            }
            cx.send(executor, ToExecutor::Resume(call));
        }
    }

    fn start_tasks(&mut self, cx: &mut Context<'_>, id: GroupId) {
        while self.groups[id.0 as usize].free() > 0 && self.work_of(id) > 0 {
            let class = self.groups[id.0 as usize].class;
            let Some(executor) = self.classes[class.0 as usize].idle.first().copied() else {
                self.dirty.class(class);
                return;
            };
            let Some(call) = self.take_task(cx, id, Beside::Nothing) else { return };
            if self.give_or_return(cx, id, executor, call) {
                self.classes[class.0 as usize].idle.remove(&executor);
                self.groups[id.0 as usize].hungry.push(executor);
            }
        }
    }

    /// Sends tasks ahead to processes that work, so that they need not wait for the next one. What is to be alone in its process
    /// waits for one that has nothing to do.
    fn top_up(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let hungry = std::mem::take(&mut self.groups[id.0 as usize].hungry);
        let group = &self.groups[id.0 as usize];
        if !group.resuming.is_empty() || !group.revoked.is_empty() || self.work_of(id) == 0 {
            return self.even_out_here(cx, id);
        }
        let elsewhere = group.shape.map_or(0, |shape| self.queues[shape.0 as usize].by_load.len());
        let places = (self.groups[id.0 as usize].places() as usize + elsewhere).max(1);
        for executor in hungry {
            let share = self.work_of(id) / places;
            let depth = share.min(cx.config.executor_depth as usize);
            while self.could_take(id, executor, depth) {
                let Some(call) = self.take_task(cx, id, Beside::Others) else { return };
                if !self.give_or_return(cx, id, executor, call) {
                    break;
                }
            }
        }
    }

    fn could_take(&self, id: GroupId, executor: ExecutorId, depth: usize) -> bool {
        let process = self.executors.get(&executor);
        let fits = |process: &&Executor| process.is_busy() && process.group == Some(id) && process.calls.len() <= depth;
        let first = process.filter(fits).and_then(|process| process.calls.front());
        first.is_some_and(|first| !self.is_alone(*first))
    }

    fn is_alone(&self, call: CallId) -> bool {
        match self.hosted.get(&call).and_then(|hosted| hosted.guest.as_deref()) {
            Some(guest) => guest.is_alone(),
            None => self.tasks.get(&call).is_some_and(|task| task.is_alone()),
        }
    }

    fn give_or_return(&mut self, cx: &mut Context<'_>, id: GroupId, executor: ExecutorId, call: CallId) -> bool {
        let own = self.hosted.get(&call).is_some_and(|hosted| hosted.source == Source::Own);
        if !self.give_task(cx, id, executor, call) {
            self.arguments_gone(cx, call);
            return false;
        }
        if let Some(process) = self.executors.get_mut(&executor)
            && process.calls.len() == 1
        {
            process.runs_own = own;
        }
        true
    }

    /// The next task for a group: one that was fetched for, or one of this worker's queue. Those whose arguments are elsewhere are
    /// sent for on the way. One that is to be alone stays where it is if it would not be.
    fn take_task(&mut self, cx: &mut Context<'_>, id: GroupId, beside: Beside) -> Option<CallId> {
        loop {
            let waiting = self.gathers_of(id);
            let group = &mut self.groups[id.0 as usize];
            let shape = group.shape;
            // Others may run what would only wait here for its arguments.
            let enough = waiting > 0 && waiting >= group.free() as usize;
            let queued = !enough && shape.is_some_and(|shape| self.queues[shape.0 as usize].queued > 0);
            if !group.inbox.is_empty() && (!queued || group.inbox_first()) {
                let call = group.inbox.pop_front()?;
                if self.phase_of(call) != Some(Phase::Inbox) {
                    continue;
                }
                if beside == Beside::Others && self.is_alone(call) {
                    self.groups[id.0 as usize].inbox.push_front(call);
                    return None;
                }
                return Some(call);
            }
            if !queued {
                return None;
            }
            let shape = shape?;
            let call = self.next_task(cx, shape)?;
            if beside == Beside::Others && self.is_alone(call) {
                self.queues[shape.0 as usize].push(call, true);
                return None;
            }
            if self.place_here(cx, id, call) {
                return Some(call);
            }
        }
    }

    /// Takes a task of this worker's own from its queue. False: its arguments are not here yet.
    fn place_here(&mut self, cx: &mut Context<'_>, id: GroupId, call: CallId) -> bool {
        let Some(task) = self.tasks.get_mut(&call) else { return false };
        if task.state.apply(TaskEvent::Place { host: self.worker, lease: 0 }).is_err() {
            return false;
        }
        self.streams.begin_attempt(call);
        let (attempt, has_objects) = (task.attempt, objects_of(&task.args).next().is_some());
        let hosted = Hosted { source: Source::Own, attempt, group: id, phase: Phase::Inbox, guest: None };
        if has_objects {
            let elsewhere = self.tasks.get(&call).map_or(Vec::new(), |task| self.args_elsewhere(&task.args));
            if !elsewhere.is_empty() {
                self.host_task(cx, call, hosted);
                return false;
            }
        }
        self.add_hosted(call, hosted);
        if let Some(shape) = self.groups[id.0 as usize].shape {
            self.queues[shape.0 as usize].here += 1;
        }
        true
    }

    /// The memory of an argument is gone after it was here.
    fn arguments_gone(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(hosted) = self.hosted.get(&call) else { return };
        let objects: Vec<ObjectId> = objects_of(self.args_of(call, hosted.guest.as_deref())).collect();
        if self.away(&objects)
            && let Some(hosted) = self.hosted.get_mut(&call)
            && hosted.phase.apply(PhaseEvent::ArgumentsAway).is_ok()
        {
            return self.gather(FetchWaiter::Task(call), objects);
        }
        let Some(hosted) = self.hosted.get(&call) else { return };
        if hosted.source == Source::Own {
            self.remove_hosted(call);
            self.ready_or_wait(cx, call, true);
        } else {
            let kind = tandem_actor_protocol::failure::FailureKind::ObjectLost;
            let failure =
                tandem_actor_protocol::failure::Failure::new(kind, "", "an argument is gone from shared memory");
            self.hosted_task_failed(cx, call, failure);
        }
    }

    /// With nothing left to start and a process idle, has the one with most tasks give some back.
    fn even_out_here(&mut self, cx: &mut Context<'_>, id: GroupId) {
        let group = &self.groups[id.0 as usize];
        if self.work_of(id) > 0 || group.free() == 0 {
            return;
        }
        let loaded = group.working.iter().filter_map(|executor| {
            let process = self.executors.get(executor)?;
            (process.is_busy() && !process.recalling && process.calls.len() > 1)
                .then_some((process.calls.len(), *executor))
        });
        let Some((calls, executor)) = loaded.max() else { return };
        self.recall(cx, executor, u32::try_from(calls / 2).unwrap_or(u32::MAX));
    }

    /// Asks a process for tasks that it has not begun.
    pub(crate) fn recall(&mut self, cx: &mut Context<'_>, executor: ExecutorId, count: u32) {
        if let Some(process) = self.executors.get_mut(&executor)
            && !std::mem::replace(&mut process.recalling, true)
        {
            cx.send(executor, ToExecutor::Recall(count));
        }
    }
}
