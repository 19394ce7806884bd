//! What is to be seen of a node: plain copies, made when asked for.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, WorkerId};

use crate::history::{Ended, Tally};
use crate::job::Job;
use crate::node::Node;
use crate::timers::Timestamp;

/// A task or the call of an actor that this worker owns, or hosts for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// Its job.
    pub job: JobId,
    /// Which call.
    pub call: CallId,
    /// The actor, for a call of one.
    pub actor: Option<ActorId>,
    /// Its function or method.
    pub function: Arc<str>,
    /// Its name for people, which is that of the function unless it was given another.
    pub name: String,
    /// Where it stands.
    pub state: TaskStateView,
    /// What it waits for, in words; empty unless it is pending.
    pub reason: String,
    /// Which attempt, counted from 0.
    pub attempt: u32,
    /// When it began, if it runs here.
    pub began: Option<Timestamp>,
    /// Where it was sent.
    pub host: Option<WorkerId>,
    /// In which process, if that is here.
    pub executor: Option<ExecutorId>,
    /// The id of that process.
    pub pid: Option<u32>,
    /// The call that submitted it; none for the driver, and where that is not known here.
    pub parent: Option<CallId>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskStateView {
    /// Waits for arguments, or to be sent.
    Pending,
    /// At a host; may have begun.
    Sent,
    /// Runs in a process here.
    Running,
    /// Runs in a process here, and waits for objects, or for whoever takes the items that it yields.
    Blocked,
    /// Done, and kept so that its objects can be made again.
    Finished,
}

/// How many tasks or calls are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveCounts {
    /// See [`TaskStateView::Pending`].
    pub pending: u64,
    /// See [`TaskStateView::Sent`].
    pub sent: u64,
    /// See [`TaskStateView::Running`].
    pub running: u64,
    /// See [`TaskStateView::Blocked`].
    pub blocked: u64,
}

impl LiveCounts {
    pub(crate) fn add(&mut self, state: TaskStateView) {
        match state {
            TaskStateView::Pending => self.pending += 1,
            TaskStateView::Sent => self.sent += 1,
            TaskStateView::Running => self.running += 1,
            TaskStateView::Blocked => self.blocked += 1,
            TaskStateView::Finished => {}
        }
    }
}

/// An actor that this worker owns or hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorView {
    /// Its job.
    pub job: JobId,
    /// Which.
    pub actor: ActorId,
    /// Its class.
    pub class: String,
    /// Under which name it is found; none if empty.
    pub name: String,
    /// Where it stands.
    pub state: ActorStateView,
    /// What it waits for, or why it is gone, in words.
    pub reason: String,
    /// How often it was started.
    pub starts: u32,
    /// Where it runs.
    pub host: Option<WorkerId>,
    /// In which process, if that is here.
    pub executor: Option<ExecutorId>,
    /// The id of that process.
    pub pid: Option<u32>,
    /// Calls at its process that have not ended, if that is here.
    pub calls: usize,
}

/// Where an actor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ActorStateView {
    /// Waits for arguments, its name or a lease.
    Pending,
    /// Its process starts or its constructor runs.
    Starting,
    /// Takes calls.
    Ready,
    /// Ends after the calls it has.
    Ending,
    /// Gone for good.
    Gone,
}

/// An object that this worker owns or holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectView {
    /// Its job.
    pub job: JobId,
    /// Which.
    pub object: ObjectId,
    /// Where it stands.
    pub state: ObjectStateView,
    /// Its size, if it has a value.
    pub bytes: u64,
    /// Its bytes are here.
    pub local: bool,
    /// The worker that holds them, if that is another.
    pub holder: Option<WorkerId>,
    /// The call that returned it; none for a value that was put.
    pub call: Option<CallId>,
    /// What made it, in words, as far as that is known here: a function, or a process that put it.
    pub made_by: String,
    /// Processes here that hold it.
    pub processes: u32,
    /// Some of these.
    pub pids: Vec<u32>,
    /// Tasks and calls that have it as an argument, and objects that name it.
    pub uses: u32,
    /// Other workers that borrowed it.
    pub borrowers: u32,
}

/// Where an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectStateView {
    /// Is being made.
    Pending,
    /// Has a value.
    Ready,
    /// Will never have one.
    Failed,
}

/// A process of a job here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorView {
    /// Its job.
    pub job: JobId,
    /// Which.
    pub executor: ExecutorId,
    /// Its process id, once known.
    pub pid: Option<u32>,
    /// What it is for, as [`ExecutorNeeds::purpose`](crate::ExecutorNeeds::purpose) says.
    pub purpose: String,
    /// Where it stands.
    pub state: ExecutorStateView,
    /// Tasks and calls at it that have not ended, the first one first.
    pub calls: Vec<CallId>,
    /// Objects that it holds.
    pub objects: usize,
}

/// Where a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutorStateView {
    /// Has not said hello.
    Starting,
    /// Has nothing to do.
    Idle,
    /// Works.
    Busy,
    /// Its task waits for objects, or for its place.
    Blocked,
    /// Is being ended.
    Ending,
}

impl Node {
    /// The tasks and actor calls that this worker owns, of a job or of all, and the tasks that it hosts for others.
    pub fn tasks(&self, job: Option<JobId>) -> impl Iterator<Item = TaskView> {
        self.seen(job).flat_map(|job| job.task_views().chain(job.guest_views()).chain(job.call_views()))
    }

    /// One of these, as often as it is known here.
    pub fn task(&self, call: CallId) -> impl Iterator<Item = TaskView> {
        self.jobs.values().flat_map(move |job| job.views_of(call))
    }

    /// How many [`Self::tasks`] gives.
    pub fn task_count(&self, job: Option<JobId>) -> usize {
        self.seen(job).map(Job::view_count).sum()
    }

    /// How many [`Self::actors`] gives.
    pub fn actor_count(&self, job: Option<JobId>) -> usize {
        self.seen(job).map(Job::actor_count).sum()
    }

    /// How many [`Self::objects`] gives.
    pub fn object_count(&self, job: Option<JobId>) -> usize {
        self.seen(job).map(|job| job.objects.len()).sum()
    }

    /// Objects that this worker owns, of a job or of all, of which copies are being made now.
    pub fn spreads(&self, job: Option<JobId>) -> usize {
        self.seen(job).map(|job| job.spreads.len()).sum()
    }

    /// Bytes of objects on disk, those being written included.
    pub fn spilled_bytes(&self) -> u64 {
        self.spilled()
    }

    /// How many times there are at which something will be looked at.
    pub fn timer_count(&self) -> usize {
        self.timers().len()
    }

    /// Attempts that have ended here, of jobs that are over too, as far as they are kept; and how many are not any more.
    pub fn ended(&self, job: Option<JobId>) -> (impl Iterator<Item = &Ended>, u64) {
        let (ended, forgotten) = self.history().ended();
        (ended.filter(move |ended| job.is_none_or(|job| job == ended.job)), forgotten)
    }

    /// Tasks and calls of each function that have not ended. What another worker runs is counted there.
    pub fn live_counts(&self, job: Option<JobId>) -> Vec<(JobId, Arc<str>, LiveCounts)> {
        let mut all = Vec::new();
        for job in self.seen(job) {
            all.extend(job.live_counts().into_iter().map(|(function, counts)| (job.id, function, counts)));
        }
        all
    }

    /// How the attempts of each function ended here.
    pub fn tallies(&self, job: Option<JobId>) -> impl Iterator<Item = (JobId, &Arc<str>, Tally)> {
        self.history().tallies().filter(move |(of, ..)| job.is_none_or(|job| job == *of))
    }

    /// The actors that this worker owns, of a job or of all; those that are gone included.
    pub fn actors(&self, job: Option<JobId>) -> impl Iterator<Item = ActorView> {
        self.seen(job).flat_map(Job::actor_views)
    }

    /// The objects that this worker owns or holds, of a job or of all.
    pub fn objects(&self, job: Option<JobId>) -> impl Iterator<Item = ObjectView> {
        let ended = self.history().ended().0.map(|ended| (ended.call, &ended.function));
        let ended: FxHashMap<CallId, &Arc<str>> = ended.collect();
        self.seen(job).flat_map(Job::object_views).map(move |mut view| {
            if view.made_by.is_empty()
                && let Some(function) = view.call.and_then(|call| ended.get(&call))
            {
                view.made_by = function.to_string();
            }
            view
        })
    }

    /// The processes of a job, or of all.
    pub fn executors(&self, job: Option<JobId>) -> impl Iterator<Item = ExecutorView> {
        self.seen(job).flat_map(Job::executor_views)
    }

    fn seen(&self, job: Option<JobId>) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(move |known| job.is_none_or(|job| job == known.id))
    }
}
