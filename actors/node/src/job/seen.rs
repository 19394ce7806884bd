//! What is to be seen of a job, and why what waits does.

use std::fmt::Write as _;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::call::Arg;

use super::Job;
use crate::actors::{Call, CallState, HostedState, OwnedActor, OwnedState, Place};
use crate::executors::{Executor, ExecutorState};
use crate::host::{Hosted, Phase};
use crate::objects::{ObjectState, Stored};
use crate::tasks::{Task, TaskState};
use crate::views::{
    ActorStateView, ActorView, ExecutorStateView, ExecutorView, ObjectStateView, ObjectView, TaskStateView, TaskView,
};

impl Job {
    pub(crate) fn task_views(&self) -> impl Iterator<Item = TaskView> {
        self.tasks.iter().map(|(call, task)| self.task_view(*call, task))
    }

    fn task_view(&self, call: CallId, task: &Task) -> TaskView {
        let hosted = self.hosted.get(&call);
        let executor = hosted.and_then(|hosted| match hosted.phase {
            Phase::Sent(executor) => Some(executor),
            Phase::Fetching { .. } | Phase::Inbox => None,
        });
        let state = match task.state {
            TaskState::Waiting { .. } | TaskState::Queued => TaskStateView::Pending,
            TaskState::Finished => TaskStateView::Finished,
            TaskState::Placed { host, .. } if host != self.worker => TaskStateView::Sent,
            TaskState::Placed { .. } => self.hosted_state(call, hosted),
        };
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
            name: task.name().to_owned(),
            state,
            reason,
            attempt: task.attempt,
            host,
            executor,
            parent: task.parent,
        }
    }

    fn hosted_state(&self, call: CallId, hosted: Option<&Hosted>) -> TaskStateView {
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

    fn why_args(&self, args: &[Arg]) -> String {
        let pending = |arg: &&Arg| match arg {
            Arg::Value(_) => false,
            Arg::Object(object) => self.objects.get(object).is_some_and(|record| record.state == ObjectState::Pending),
        };
        let mut text = "waits for arguments:".to_owned();
        for arg in args.iter().filter(pending).take(3) {
            if let Arg::Object(object) = arg {
                let _ = write!(text, " {object}");
            }
        }
        let more = args.iter().filter(pending).count().saturating_sub(3);
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        text
    }

    fn why_queued(&self, task: &Task) -> String {
        let queue = &self.queues[task.shape.0 as usize];
        let leases = self.places_of(task.shape) + queue.leases.len();
        if leases == 0 {
            return format!("waits for a lease: {} were asked for and none is granted yet", queue.demanded);
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

    pub(crate) fn call_views(&self) -> impl Iterator<Item = TaskView> {
        self.calls.iter().map(|(call, entry)| self.call_view(*call, entry))
    }

    fn call_view(&self, call: CallId, entry: &Call) -> TaskView {
        let (state, host) = match entry.state {
            CallState::Waiting { .. } => (TaskStateView::Pending, None),
            CallState::Sent { host } => (TaskStateView::Sent, Some(host)),
        };
        let reason = match entry.state {
            CallState::Sent { .. } => String::new(),
            CallState::Waiting { missing: 0 } => match self.routes.get(&entry.actor).map(|route| &route.place) {
                Some(Place::At(_)) => "waits for earlier calls of the same process".to_owned(),
                _ => "waits until the actor is ready".to_owned(),
            },
            CallState::Waiting { .. } => self.why_args(&entry.args),
        };
        let hosted = self.hosted_actors.get(&entry.actor).filter(|_| self.hosted_calls.contains_key(&call));
        TaskView {
            job: self.id,
            call,
            actor: Some(entry.actor),
            name: entry.method.to_string(),
            state,
            reason,
            attempt: entry.attempt,
            host,
            executor: hosted.and_then(|hosted| hosted.executor),
            parent: entry.parent,
        }
    }

    pub(crate) fn actor_views(&self) -> impl Iterator<Item = ActorView> {
        let guests = self.hosted_actors.iter().filter(|(_, hosted)| hosted.owner != self.worker);
        let guests = guests.map(|(actor, hosted)| ActorView {
            job: self.id,
            actor: *actor,
            class: hosted.spec.class.clone(),
            name: hosted.spec.options.name.clone(),
            state: match hosted.state {
                HostedState::Placing | HostedState::Fetching { .. } => ActorStateView::Pending,
                HostedState::Launching | HostedState::Constructing => ActorStateView::Starting,
                HostedState::Ready => ActorStateView::Ready,
                HostedState::Ending => ActorStateView::Ending,
            },
            reason: match hosted.state {
                HostedState::Placing => "its lease is still in use".to_owned(),
                HostedState::Fetching { missing } => format!("{missing} arguments are on their way to this worker"),
                _ => String::new(),
            },
            starts: hosted.attempt + 1,
            host: Some(self.worker),
            executor: hosted.executor,
            calls: hosted.calls.len(),
        });
        self.owned_actors.iter().map(|(actor, owned)| self.owned_view(*actor, owned)).chain(guests)
    }

    fn owned_view(&self, actor: tandem_actor_protocol::ActorId, owned: &OwnedActor) -> ActorView {
        let hosted = self.hosted_actors.get(&actor);
        let (state, reason) = match &owned.state {
            OwnedState::Naming => (ActorStateView::Pending, "waits for its name".to_owned()),
            OwnedState::Waiting { .. } => (ActorStateView::Pending, self.why_args(&owned.args)),
            OwnedState::Queued => (ActorStateView::Pending, "waits for a lease of its own".to_owned()),
            OwnedState::Starting { .. } => {
                (ActorStateView::Starting, "its process starts or its constructor runs".to_owned())
            }
            OwnedState::Ready { .. } => (ActorStateView::Ready, String::new()),
            OwnedState::Ending { .. } => (ActorStateView::Ending, "was asked to end".to_owned()),
            OwnedState::Gone(failure) => (ActorStateView::Gone, failure.message.clone()),
        };
        let begun = matches!(state, ActorStateView::Starting | ActorStateView::Ready | ActorStateView::Ending);
        ActorView {
            job: self.id,
            actor,
            class: owned.spec.class.clone(),
            name: owned.spec.options.name.clone(),
            state,
            reason,
            starts: owned.attempt + u32::from(begun),
            host: owned.state.at().map(|(host, _)| host),
            executor: hosted.and_then(|hosted| hosted.executor),
            calls: hosted.map_or(0, |hosted| hosted.calls.len()),
        }
    }

    pub(crate) fn object_views(&self) -> impl Iterator<Item = ObjectView> {
        self.objects.iter().map(|(object, record)| ObjectView {
            job: self.id,
            object: *object,
            state: match record.state {
                ObjectState::Pending => ObjectStateView::Pending,
                ObjectState::Ready(_) => ObjectStateView::Ready,
                ObjectState::Failed(_) => ObjectStateView::Failed,
            },
            bytes: record.stored().map_or(0, Stored::bytes),
            local: record.stored().is_some_and(Stored::is_at_hand),
            holder: record.stored().and_then(Stored::remote),
            processes: record.processes,
            uses: record.uses + record.guests,
            borrowers: u32::try_from(record.borrower_count()).unwrap_or(u32::MAX),
        })
    }

    pub(crate) fn executor_views(&self) -> impl Iterator<Item = ExecutorView> {
        self.executors.iter().map(|(executor, process)| ExecutorView {
            job: self.id,
            executor: *executor,
            pid: process.pid,
            purpose: process.label.clone(),
            state: executor_state(process),
            calls: process.calls.iter().copied().collect(),
        })
    }
}

fn executor_state(process: &Executor) -> ExecutorStateView {
    match process.state {
        _ if process.fate.is_some() => ExecutorStateView::Ending,
        ExecutorState::Starting => ExecutorStateView::Starting,
        ExecutorState::Idle if matches!(process.purpose, crate::executors::Purpose::Tasks(_)) => {
            ExecutorStateView::Idle
        }
        ExecutorState::Idle | ExecutorState::Busy => ExecutorStateView::Busy,
        ExecutorState::Blocked(_) | ExecutorState::Resuming(_) => ExecutorStateView::Blocked,
    }
}
