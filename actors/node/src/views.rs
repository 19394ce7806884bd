//! What is to be seen of a node: plain copies, made when asked for.

use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, WorkerId};

use crate::job::Job;
use crate::node::Node;

/// A task or the call of an actor that this worker owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// Its job.
    pub job: JobId,
    /// Which call.
    pub call: CallId,
    /// The actor, for a call of one.
    pub actor: Option<ActorId>,
    /// Its name, or that of its function or method.
    pub name: String,
    /// Where it stands.
    pub state: TaskStateView,
    /// What it waits for, in words; empty unless it is pending.
    pub reason: String,
    /// Which attempt, counted from 0.
    pub attempt: u32,
    /// Where it was sent.
    pub host: Option<WorkerId>,
    /// In which process, if that is here.
    pub executor: Option<ExecutorId>,
    /// The call that submitted it; none for the driver.
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
    /// Runs in a process here, and waits for objects.
    Blocked,
    /// Done, and kept so that its objects can be made again.
    Finished,
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
    /// Processes here that hold it.
    pub processes: u32,
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
    /// The tasks and actor calls that this worker owns, of a job or of all.
    pub fn tasks(&self, job: Option<JobId>) -> Vec<TaskView> {
        self.seen(job).flat_map(|job| job.task_views().chain(job.call_views())).collect()
    }

    /// The actors that this worker owns, of a job or of all; those that are gone included.
    pub fn actors(&self, job: Option<JobId>) -> Vec<ActorView> {
        self.seen(job).flat_map(Job::actor_views).collect()
    }

    /// The objects that this worker owns or holds, of a job or of all.
    pub fn objects(&self, job: Option<JobId>) -> Vec<ObjectView> {
        self.seen(job).flat_map(Job::object_views).collect()
    }

    /// The processes of a job, or of all.
    pub fn executors(&self, job: Option<JobId>) -> Vec<ExecutorView> {
        self.seen(job).flat_map(Job::executor_views).collect()
    }

    fn seen(&self, job: Option<JobId>) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(move |known| job.is_none_or(|job| job == known.id))
    }
}
