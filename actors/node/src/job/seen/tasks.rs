//! The tasks of a job that this worker owns or hosts, and why those that wait do.

use std::fmt::Write as _;
use std::sync::Arc;

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::{CallId, ExecutorId};

use crate::host::{Guest, Hosted, Phase};
use crate::job::Job;
use crate::objects::objects_of;
use crate::tasks::{Task, TaskState};
use crate::timers::Timestamp;
use crate::views::{TaskStateView, TaskView};

impl Job {
    pub(crate) fn task_views(&self) -> impl Iterator<Item = TaskView> {
        self.tasks.iter().map(|(call, task)| self.task_view(*call, task))
    }

    fn task_view(&self, call: CallId, task: &Task) -> TaskView {
        let hosted = self.hosted.get(&call);
        let executor = hosted.and_then(Hosted::executor);
        let state = self.task_state(call, task);
        let host = match task.state {
            TaskState::Placed { host, .. } => Some(host),
            TaskState::Waiting { .. } | TaskState::Queued | TaskState::Finished => None,
        };
        let reason = match state {
            TaskStateView::Pending => self.why_pending(task, hosted),
            _ => String::new(),
        };
        TaskView {
            job: self.id,
            call,
            actor: None,
            function: Arc::clone(&task.function),
            name: task.name().to_owned(),
            state,
            reason,
            attempt: task.attempt,
            began: self.began_at(call, executor),
            host,
            executor,
            pid: self.pid(executor),
            parent: task.parent.call(),
        }
    }

    pub(super) fn task_state(&self, call: CallId, task: &Task) -> TaskStateView {
        match task.state {
            TaskState::Waiting { .. } | TaskState::Queued => TaskStateView::Pending,
            TaskState::Finished => TaskStateView::Finished,
            TaskState::Placed { .. } if task.state.is_elsewhere(self.worker) => TaskStateView::Sent,
            TaskState::Placed { .. } => self.hosted_state(call, self.hosted.get(&call)),
        }
    }

    pub(in crate::job) fn pid(&self, executor: Option<ExecutorId>) -> Option<u32> {
        self.executors.get(&executor?)?.pid
    }

    fn began_at(&self, call: CallId, executor: Option<ExecutorId>) -> Option<Timestamp> {
        self.executors.get(&executor?)?.began(call)
    }

    /// Tasks of other workers that are to run here, or do.
    pub(crate) fn guest_views(&self) -> impl Iterator<Item = TaskView> {
        self.hosted.iter().filter_map(|(call, hosted)| self.guest_view(*call, hosted))
    }

    fn guest_view(&self, call: CallId, hosted: &Hosted) -> Option<TaskView> {
        let guest = hosted.guest.as_deref()?;
        let executor = hosted.executor();
        let reason = match hosted.phase {
            Phase::Fetching { missing } => format!("{missing} arguments are on their way to this worker"),
            Phase::Inbox => "waits for a process".to_owned(),
            Phase::Sent(_) => String::new(),
        };
        Some(TaskView {
            job: self.id,
            call,
            actor: None,
            function: Arc::clone(&guest.function),
            name: Guest::name(guest).to_owned(),
            state: self.hosted_state(call, Some(hosted)),
            reason,
            attempt: hosted.attempt,
            began: self.began_at(call, executor),
            host: Some(self.worker),
            executor,
            pid: self.pid(executor),
            parent: None,
        })
    }

    /// One task or call, as often as it is known here.
    pub(crate) fn views_of(&self, call: CallId) -> impl Iterator<Item = TaskView> {
        let own = self.tasks.get(&call).map(|task| self.task_view(call, task));
        let guest = self.hosted.get(&call).and_then(|hosted| self.guest_view(call, hosted));
        own.into_iter().chain(guest).chain(self.call_views_of(call))
    }

    /// How many views there are of tasks and calls.
    pub(crate) fn view_count(&self) -> usize {
        let guests = self.hosted.values().filter(|hosted| hosted.guest.is_some()).count();
        self.tasks.len() + guests + self.calls.len() + self.guest_calls().count()
    }

    pub(super) fn hosted_state(&self, call: CallId, hosted: Option<&Hosted>) -> TaskStateView {
        let Some(Phase::Sent(executor)) = hosted.map(|hosted| hosted.phase) else { return TaskStateView::Pending };
        let Some(process) = self.executors.get(&executor) else { return TaskStateView::Sent };
        match (process.calls.front() == Some(&call), process.waits_for(call)) {
            (true, true) => TaskStateView::Blocked,
            (true, false) => TaskStateView::Running,
            (false, _) => TaskStateView::Sent,
        }
    }

    fn why_pending(&self, task: &Task, hosted: Option<&Hosted>) -> String {
        match (task.state, hosted.map(|hosted| hosted.phase)) {
            (TaskState::Waiting { .. }, _) => self.why_args(&task.args),
            (_, Some(Phase::Fetching { missing })) => format!("{missing} arguments are on their way to this worker"),
            (TaskState::Queued | TaskState::Placed { .. }, _) => self.why_queued(task),
            (TaskState::Finished, _) => String::new(),
        }
    }

    pub(super) fn why_args(&self, args: &[Arg]) -> String {
        let pending = || objects_of(args).filter(|object| self.is_pending(*object));
        let mut text = "waits for arguments:".to_owned();
        for object in pending().take(3) {
            let _ = write!(text, " {object}");
        }
        let more = pending().count().saturating_sub(3);
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        text
    }

    fn why_queued(&self, task: &Task) -> String {
        let queue = &self.queues[task.shape.0 as usize];
        let leases = self.places_of(task.shape) + queue.leases.len();
        if leases == 0 {
            let place = queue.bundle.map(|bundle| format!(" in bundle {} of {}", bundle.index, bundle.group));
            let place = place.unwrap_or_default();
            return format!("waits for a lease{place}: {} were asked for and none is granted yet", queue.demanded);
        }
        let starting: usize =
            self.groups_of(task.shape).map(|group| self.classes[group.class.0 as usize].starting).sum();
        if starting > 0 && self.free_places_of(task.shape) > 0 {
            return format!("{starting} processes are starting");
        }
        if self.task_executors > 0 && self.free_places_of(task.shape) > 0 {
            return "waits for a process: as many as there may be are there".to_owned();
        }
        format!("{} tasks wait for {leases} leases, which are all in use", queue.queued)
    }
}
