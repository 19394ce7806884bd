//! What can happen to a cluster. The shell turns RPCs, streams and timers into these, in the order they come in.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_proto::{Epoch, JobId, LeaseId, WorkerId};

use crate::groups::{BundleId, GroupPlan, PlacementGroupId};
use crate::names::{ActorId, ActorName, NamedActor};
use crate::plan::JobPlan;
use crate::report::{AttemptId, TaskOutcome, TaskOutput};
use crate::resources::{CPUS, Resources, SLOT_MILLI, Shape};

/// One thing that happened. Those of workers carry the epoch they were sent under; another than the current one is
/// dropped.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A worker opened a stream. Answered by [`Action::Registered`](super::Action::Registered), which starts its epoch.
    WorkerRegistered(Box<Registration>),
    /// The stream of a worker broke.
    WorkerDisconnected {
        /// The worker.
        worker: WorkerId,
        /// Under which it was registered.
        epoch: Epoch,
    },
    /// A worker is alive.
    Heartbeat {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// What the worker uses.
        usage: WorkerUsage,
        /// Every attempt that runs there, also one without progress: an attempt that is missing is launched again.
        progress: Vec<Progress>,
        /// The leases it knows of and wants.
        leases: LeaseReport,
    },
    /// An owner wants so many leases of a shape in all.
    LeaseDemand {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// How many, for what.
        demand: LeaseDemand,
    },
    /// An owner needs a lease no more.
    LeaseReleased {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// The lease.
        lease: LeaseId,
    },
    /// Nothing runs on a lease any more, says its host.
    LeaseReturned {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// The lease.
        lease: LeaseId,
    },
    /// An owner wants a placement group. May be repeated; [`Action::GroupChanged`](super::Action::GroupChanged) tells what comes
    /// of it.
    GroupWanted {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// The group.
        plan: GroupPlan,
    },
    /// An owner needs a placement group no more. May be repeated.
    GroupRemoved {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// The group.
        group: PlacementGroupId,
    },
    /// An actor wants a name. May be repeated; [`Cluster::claim_of`](super::Cluster::claim_of) tells what came of it.
    NameClaimed {
        /// The name.
        name: ActorName,
        /// The actor.
        actor: NamedActor,
    },
    /// Someone in a job was told of an actor.
    ActorFound {
        /// The job.
        job: JobId,
        /// The worker that owns the actor.
        owner: WorkerId,
    },
    /// An actor is gone for good, and needs its names no more. May be repeated.
    NameDropped {
        /// Its job.
        job: JobId,
        /// The actor.
        actor: ActorId,
    },
    /// An attempt ended. May be repeated.
    TaskReported {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
        /// What to acknowledge.
        sequence: u64,
        /// The attempt.
        attempt: AttemptId,
        /// How it ended.
        outcome: TaskOutcome,
    },
    /// A worker was told by a signal to drain.
    WorkerDraining {
        /// The worker.
        worker: WorkerId,
        /// Under which it was sent.
        epoch: Epoch,
    },
    /// An operator wants a worker drained.
    DrainRequested {
        /// The worker.
        worker: WorkerId,
    },
    /// A job was planned and, when its plan says so, written to the journal. A repeat is ignored.
    JobAccepted {
        /// The job.
        job: JobId,
        /// Its shape.
        plan: Arc<JobPlan>,
    },
    /// Someone wants a job stopped.
    StopRequested {
        /// The job.
        job: JobId,
        /// Why, for people.
        reason: String,
    },
    /// A client follows a job.
    FollowerJoined {
        /// The job.
        job: JobId,
    },
    /// A client that followed a job is gone.
    FollowerLeft {
        /// The job.
        job: JobId,
    },
    /// The client has read the whole result.
    ResultRead {
        /// The job.
        job: JobId,
    },
    /// The answer to [`Action::Commit`](super::Action::Commit).
    CommitFinished {
        /// The job.
        job: JobId,
        /// Whether everything is published and journaled, else why not.
        outcome: Result<(), String>,
    },
    /// The answer to [`Action::CleanUp`](super::Action::CleanUp).
    CleanedUp {
        /// The job.
        job: JobId,
    },
    /// The time of [`Cluster::next_deadline`](super::Cluster::next_deadline) has come.
    Tick,
}

/// How a worker introduces itself, at every start of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Registration {
    /// The worker.
    pub worker: WorkerId,
    /// What it is.
    pub info: WorkerInfo,
    /// The attempts it runs.
    pub running: Vec<AttemptId>,
    /// The finished attempts whose output (or staged files) it still stands for.
    pub held: Vec<HeldOutput>,
    /// The jobs of which it has executors or objects.
    pub jobs: Vec<JobId>,
    /// The leases that it hosts or owns.
    pub leases: Vec<LeaseGrant>,
    /// The placement groups that it owns.
    pub groups: Vec<GroupReport>,
}

impl Registration {
    /// That of a worker which has nothing yet.
    pub fn new(worker: WorkerId, info: WorkerInfo) -> Self {
        let (running, held, jobs, leases, groups) = Default::default();
        Self { worker, info, running, held, jobs, leases, groups }
    }
}

/// A lease, as its host and its owner know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseGrant {
    /// Which.
    pub lease: LeaseId,
    /// For tasks of which job.
    pub job: JobId,
    /// The worker that owns the tasks.
    pub owner: WorkerId,
    /// The worker that runs them.
    pub host: WorkerId,
    /// What it is one of.
    pub shape: Shape,
    /// The bundle that it is a part of.
    pub bundle: Option<BundleId>,
}

/// How many leases of a shape an owner wants for a job, those it has included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseDemand {
    /// The job.
    pub job: JobId,
    /// The shape.
    pub shape: Shape,
    /// The bundle that they are to be parts of; none for the workers as they are.
    pub bundle: Option<BundleId>,
    /// How many.
    pub wanted: u32,
}

/// What a heartbeat says of executors and leases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseReport {
    /// Those it hosts.
    pub hosted: Vec<LeaseId>,
    /// Those it owns.
    pub owned: Vec<LeaseId>,
    /// All that it wants.
    pub demand: Vec<LeaseDemand>,
    /// The jobs of which it has executors or objects.
    pub jobs: Vec<JobId>,
    /// All placement groups that it owns.
    pub groups: Vec<GroupReport>,
    /// It drains, and nothing of these jobs would be lost with it.
    pub may_leave: bool,
}

/// A placement group, as its owner knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupReport {
    /// The group.
    pub plan: GroupPlan,
    /// The owner was told that it is reserved, or that it failed.
    pub settled: bool,
}

/// What a worker is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerInfo {
    /// Its name, for people.
    pub name: String,
    /// Version of its binary. The shell has refused others than its own.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// `host:port` that output is fetched from.
    pub data_address: String,
    /// `host:port` of its metrics.
    pub http_address: String,
    /// Tasks it may run at once.
    pub slots: u32,
    /// Its memory limit.
    pub memory_bytes: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// All it has; what it does not say is told by its slots and its memory limit.
    pub resources: Resources,
}

impl WorkerInfo {
    /// With all its resources.
    pub(crate) fn completed(mut self) -> Self {
        let slots = u64::from(self.slots) * SLOT_MILLI;
        self.resources.milli.entry(CPUS.to_owned()).or_insert(slots);
        if self.resources.memory_bytes == 0 {
            self.resources.memory_bytes = self.memory_bytes;
        }
        self
    }
}

/// A finished attempt that a worker still stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOutput {
    /// The attempt.
    pub attempt: AttemptId,
    /// What it reported when it finished.
    pub output: TaskOutput,
}

/// What a worker uses, as of its last heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkerUsage {
    /// Resident memory of its process.
    pub rss_bytes: u64,
    /// Taken from its memory pool.
    pub pool_used_bytes: u64,
    /// Output held in memory.
    pub stored_bytes: u64,
    /// Output held in spill files.
    pub spilled_bytes: u64,
}

/// How far a running attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The attempt.
    pub attempt: AttemptId,
    /// Rows so far.
    pub rows: u64,
    /// Bytes so far.
    pub bytes: u64,
}
