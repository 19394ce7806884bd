//! What the shell must do, and which of it the journal must remember. Performed in order, after the event was handled.

use serde::{Deserialize, Serialize};
use tandem_graph::TaskWork;
use tandem_proto::{Attempt, Epoch, JobId, LeaseId, StageId, WorkerId};

use crate::division::Division;
use crate::event::LeaseGrant;
use crate::groups::{BundleId, GroupPlan, PlacementGroupId};
use crate::names::{ActorName, NamedActor};
use crate::reason::JobOutcome;
use crate::report::{AttemptId, OperatorMetrics, RowCount, StagedFile};
use crate::resources::Shape;
use crate::time::Timestamp;

/// One thing to do. What goes to a worker carries the epoch of the stream it belongs on; when that stream is gone, so is the
/// message, and the worker's next registration sorts it out.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Answer a registration. Comes before anything else of this epoch.
    Registered {
        /// The worker.
        worker: WorkerId,
        /// The epoch that starts.
        epoch: Epoch,
    },
    /// Close the worker's stream: it was fenced and must register again.
    Disconnect {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
    },
    /// Tell the worker that its report was taken.
    Acknowledge {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// Of the report.
        sequence: u64,
    },
    /// Start an attempt. May be repeated; the worker ignores what it runs or has run.
    Launch {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The attempt.
        attempt: AttemptId,
        /// What it runs.
        work: TaskWork,
        /// The input locations it must use: [`Cluster::stage_inputs`](super::Cluster::stage_inputs).
        inputs_version: u32,
    },
    /// End an attempt. The worker reports it as cancelled, or as what it was by then.
    Cancel {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The attempt.
        attempt: AttemptId,
    },
    /// Forget the output of a stage, or of the whole job.
    DropOutput {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The job.
        job: JobId,
        /// The stage; none for all of them.
        stage: Option<StageId>,
    },
    /// End every executor of a job and forget its objects; what comes of the job after this is new. May be repeated.
    JobGone {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The job.
        job: JobId,
    },
    /// Tell a host, then the owner, of a lease. May be repeated.
    GrantLease {
        /// The worker that is told.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The lease.
        grant: LeaseGrant,
        /// `host:port` of the owner.
        owner_address: String,
        /// `host:port` of the host.
        host_address: String,
    },
    /// Tell a host or an owner that no more is to be started on a lease. May be repeated.
    RevokeLease {
        /// The worker that is told.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The lease.
        lease: LeaseId,
    },
    /// Tell an owner that no worker can ever satisfy what it wants.
    RefuseLease {
        /// The owner.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// For what job.
        job: JobId,
        /// Leases of which shape.
        shape: Shape,
        /// In which bundle.
        bundle: Option<BundleId>,
        /// What is missing.
        reason: String,
    },
    /// Tell the owner of a placement group how it stands, or a worker that has work in one that it is gone. May be repeated.
    GroupChanged {
        /// The worker that is told.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The job.
        job: JobId,
        /// The group.
        group: PlacementGroupId,
        /// How it stands.
        news: GroupNews,
    },
    /// Tell a worker that another one is lost.
    WorkerGone {
        /// The worker that is told.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
        /// The one that is lost.
        gone: WorkerId,
    },
    /// Do not let a worker in that registered: its process is to end.
    Reject {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// Tell the worker to take no more tasks.
    Drain {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
    },
    /// Tell the worker to exit: nothing needs it any more.
    Shutdown {
        /// The worker.
        worker: WorkerId,
        /// Of the stream.
        epoch: Epoch,
    },
    /// Append to the journal; may be synced later, together with others.
    Record(Fact),
    /// Journal the intent, publish these files, journal that it is done, then send
    /// [`Event::CommitFinished`](super::Event::CommitFinished). May be repeated, always with the same files.
    Commit {
        /// The job.
        job: JobId,
        /// All staged files of its accepted attempts, in order of stage and task.
        files: Vec<StagedFile>,
    },
    /// The job ended without a commit and nothing of it runs: remove all it staged, then send
    /// [`Event::CleanedUp`](super::Event::CleanedUp). May be repeated.
    CleanUp {
        /// The job.
        job: JobId,
    },
    /// The status of a job changed: followers want to see it. At most once per job and event.
    JobChanged {
        /// The job.
        job: JobId,
    },
    /// How a job ends is decided. Comes once per job and reign, and its fact just before: show it when that is synced, or a crash
    /// may decide otherwise.
    JobEnded {
        /// The job.
        job: JobId,
        /// How.
        outcome: JobOutcome,
    },
    /// The job is no longer remembered: delete what the journal and the shell keep of it.
    Forget {
        /// The job.
        job: JobId,
    },
}

/// How a placement group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupNews {
    /// Not all of it can be reserved, for this reason.
    Waits(String),
    /// Every bundle was reserved.
    Reserved,
    /// No workers can hold it, for this reason.
    Failed(String),
    /// It is not there any more.
    Gone,
}

/// What a restarted coordinator must know besides the accepted jobs and their commits. Only jobs that are journaled
/// have facts; those of one job are read back in the order they were recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// A worker registered for the first time.
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// Its name.
        name: String,
    },
    /// A worker was lost or released.
    WorkerGone {
        /// The worker.
        worker: WorkerId,
    },
    /// The first task of the job was launched.
    JobStarted {
        /// The job.
        job: JobId,
        /// When.
        at: Timestamp,
    },
    /// All tasks of a stage have finished. Replaces an earlier fact of the same stage.
    StageFinished {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageId,
        /// When its first task started.
        started: Timestamp,
        /// When.
        at: Timestamp,
        /// The workers that hold its output.
        workers: Vec<WorkerId>,
        /// One entry per task.
        tasks: Vec<FinishedTask>,
        /// Summed over all tasks.
        counts: Vec<RowCount>,
        /// Summed over all tasks.
        operators: Vec<OperatorMetrics>,
        /// Files staged for a sink, in order of the tasks.
        files: Vec<StagedFile>,
    },
    /// It was decided how many others a stage takes over, before any of its tasks was launched.
    StageFused {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageId,
        /// How many.
        depth: u32,
        /// Attempts below this number were launched without knowing.
        first_attempt: u32,
    },
    /// It was decided how a stage is divided over tasks, before any of them was launched.
    StageDivided {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageId,
        /// How.
        division: Division,
        /// Attempts below this number belong to no task of this division.
        first_attempt: u32,
    },
    /// What a stage had put out does not count any more: its input was made again and is not deterministic.
    StageReopened {
        /// The job.
        job: JobId,
        /// The stage.
        stage: StageId,
    },
    /// The job failed and starts again.
    JobRetried {
        /// The job.
        job: JobId,
        /// Retries used so far.
        retries_used: u32,
    },
    /// The job ended.
    JobEnded {
        /// The job.
        job: JobId,
        /// When.
        at: Timestamp,
        /// How.
        outcome: JobOutcome,
    },
    /// What an ended job had staged is removed.
    CleanedUp {
        /// The job.
        job: JobId,
    },
    /// An actor has a name, which nobody had.
    NameClaimed {
        /// The name.
        name: ActorName,
        /// The actor.
        actor: NamedActor,
    },
    /// Nobody has a name any more.
    NameFreed {
        /// The name.
        name: ActorName,
    },
    /// Every bundle of a placement group has a place. Replaces an earlier fact of the same group.
    GroupReserved {
        /// The group.
        plan: GroupPlan,
        /// The worker of each bundle.
        hosts: Vec<WorkerId>,
    },
    /// A placement group is not there any more.
    GroupRemoved {
        /// The group.
        group: PlacementGroupId,
    },
}

/// The accepted attempt of one task, in [`Fact::StageFinished`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedTask {
    /// Place of its worker in the fact's `workers`.
    pub worker: u32,
    /// The attempt.
    pub attempt: Attempt,
    /// How long after the stage it started.
    pub after_ms: u64,
    /// How long it took.
    pub took_ms: u64,
    /// Rows it put out.
    pub rows: u64,
    /// Bytes it put out.
    pub bytes: u64,
    /// How many of the stage's files are its.
    pub files: u32,
}

impl Fact {
    /// The job that forgets it; none for a fact about a worker, a name or a placement group.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::WorkerJoined { .. }
            | Self::WorkerGone { .. }
            | Self::NameClaimed { .. }
            | Self::NameFreed { .. }
            | Self::GroupReserved { .. }
            | Self::GroupRemoved { .. } => None,
            Self::JobStarted { job, .. }
            | Self::StageFinished { job, .. }
            | Self::StageFused { job, .. }
            | Self::StageDivided { job, .. }
            | Self::StageReopened { job, .. }
            | Self::JobRetried { job, .. }
            | Self::JobEnded { job, .. }
            | Self::CleanedUp { job } => Some(*job),
        }
    }
}
