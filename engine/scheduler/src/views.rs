//! What the outside may see of the cluster's state: plain values, built on demand, converted to the wire by the shell.

use std::sync::Arc;

use tandem_proto::{Attempt, JobId, PartitionId, StageId, WorkerId};

use crate::event::{WorkerInfo, WorkerUsage};
use crate::groups::GroupPlan;
use crate::plan::JobPlan;
use crate::reason::{GroupReason, JobOutcome, PendingReason};
use crate::report::{AttemptId, OperatorMetrics, RowCount};
use crate::resources::Resources;
use crate::time::Timestamp;

/// What `List`, `Get` and `Follow` show of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Its shape.
    pub plan: Arc<JobPlan>,
    /// Where it stands.
    pub state: JobState,
    /// Why nothing of it runs, when nothing runs.
    pub pending_reason: Option<PendingReason>,
    /// How it ended, when it has.
    pub outcome: Option<JobOutcome>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// When its first task started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its stages, in the order of their ids.
    pub stages: Vec<StageView>,
    /// Rows by source, step and sink, summed over accepted attempts.
    pub counts: Vec<RowCount>,
    /// Partitions of the result that can be read now, in order.
    pub results: Vec<ResultPartition>,
    /// Retries used.
    pub retries_used: u32,
    /// `host:port` of the worker that its driver runs on; empty while there is none.
    pub driver_address: String,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// Accepted; nothing has started.
    Pending,
    /// Something has started.
    Running,
    /// Done, and committed when it has sinks.
    Succeeded,
    /// Could not be done.
    Failed,
    /// Was stopped.
    Stopped,
}

/// What is shown of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageView {
    /// The stage.
    pub stage: StageId,
    /// Number of its tasks.
    pub tasks: u32,
    /// Tasks that wait.
    pub pending: u32,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that are finished.
    pub finished: u32,
    /// Attempts that ended without being accepted.
    pub failed_attempts: u32,
    /// Rows put out, those of running attempts as of their last heartbeat included.
    pub rows: u64,
    /// Bytes put out, likewise.
    pub bytes: u64,
    /// When its first task started.
    pub started: Option<Timestamp>,
    /// When its last task finished.
    pub ended: Option<Timestamp>,
    /// Why none of its pending tasks runs.
    pub pending_reason: Option<PendingReason>,
    /// Operators, summed over accepted attempts.
    pub operators: Vec<OperatorMetrics>,
    /// How many other stages it takes over.
    pub fused: u32,
    /// The stage that does its work in its place.
    pub taken_over_by: Option<StageId>,
}

/// One readable partition of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultPartition {
    /// The partition.
    pub partition: PartitionId,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// Where it is.
    pub worker: WorkerId,
    /// `host:port` to fetch it from.
    pub data_address: String,
}

/// What `ListTasks` shows: every task as it stands and the attempts of it that were not accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskView {
    /// The attempt; for a pending task the next one.
    pub attempt: AttemptId,
    /// Where it stands.
    pub state: TaskState,
    /// Name of the worker, empty for a pending task.
    pub worker: String,
    /// Why it failed or was lost.
    pub message: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Rows put out.
    pub rows: u64,
    /// Bytes put out.
    pub bytes: u64,
    /// Why it waits.
    pub pending_reason: Option<PendingReason>,
}

/// Where a task attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Waits for inputs or a slot.
    Pending,
    /// Leased to a worker.
    Running,
    /// Accepted.
    Succeeded,
    /// Ended by itself without success.
    Failed,
    /// Ended because it was not wanted any more.
    Cancelled,
    /// Its worker was lost, or its output was.
    Lost,
}

/// What `ListNodes` shows of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// The worker.
    pub worker: WorkerId,
    /// What it is.
    pub info: WorkerInfo,
    /// Where it stands.
    pub state: NodeState,
    /// Slots taken by tasks and leases, rounded up.
    pub slots_used: u32,
    /// What tasks and leases take.
    pub used: Resources,
    /// Leases it hosts.
    pub leases: u32,
    /// What it uses.
    pub usage: WorkerUsage,
    /// When it first registered.
    pub joined: Timestamp,
}

/// Where a worker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Takes tasks.
    Ready,
    /// Takes no more tasks.
    Draining,
    /// Not heard of; has until its lease ends.
    Suspect,
    /// Gone without being told to. The last few are shown for a while.
    Lost,
}

/// What `ListGroups` shows of a placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// The group, with its job, its name, its strategy and what its bundles have.
    pub plan: GroupPlan,
    /// Where it stands.
    pub state: GroupStateView,
    /// Why bundles of it have no place, when they have none.
    pub reason: Option<GroupReason>,
    /// Its bundles.
    pub bundles: Vec<BundleView>,
}

/// One bundle of a placement group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleView {
    /// Where it is.
    pub host: Option<WorkerId>,
    /// Name of that worker, empty when it is nowhere.
    pub worker: String,
    /// What leases take of it.
    pub used: Resources,
}

/// Where a placement group stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupStateView {
    /// It has nothing and waits.
    Pending,
    /// All its bundles have a place.
    Reserved,
    /// Some bundles have lost their place and wait for another.
    Broken,
    /// No workers can hold it.
    Failed,
}

/// What `GetCluster` shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Workers that take tasks.
    pub nodes_ready: u32,
    /// Their slots.
    pub slots: u32,
    /// Slots taken, on all workers.
    pub slots_used: u32,
    /// Leases that are given.
    pub leases: u32,
    /// Jobs that are pending or running.
    pub jobs_running: u32,
}

/// Where the output of one input stage is, for `GetStage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageInput {
    /// The input stage.
    pub stage: StageId,
    /// The workers that hold its output, with the address to fetch from.
    pub workers: Vec<(WorkerId, String)>,
    /// For each partition of the stage, the place of its worker in `workers`.
    pub worker_of: Vec<u32>,
    /// For each partition of the stage, the attempt that wrote it.
    pub attempt_of: Vec<u32>,
}

/// Why there are no input locations to hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InputsError {
    /// The job is over or was never here.
    #[error("job {0} is not running")]
    NoSuchJob(JobId),
    /// The job has no such stage.
    #[error("job {0} has no stage {1}")]
    NoSuchStage(JobId, StageId),
    /// The inputs have moved since the attempt was launched. Its failure costs nothing.
    #[error("inputs of stage {stage} have moved: version {asked} was asked for, {current} is current")]
    Stale {
        /// The stage.
        stage: StageId,
        /// What was asked for.
        asked: u32,
        /// What holds now.
        current: u32,
    },
}

/// What has happened since this coordinator started, for metrics. Only ever grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Jobs accepted, restored ones not included.
    pub jobs_accepted: u64,
    /// Jobs that succeeded.
    pub jobs_succeeded: u64,
    /// Jobs that failed.
    pub jobs_failed: u64,
    /// Jobs that were stopped.
    pub jobs_stopped: u64,
    /// Attempts launched.
    pub attempts_launched: u64,
    /// Of these, second attempts of tasks that took long.
    pub attempts_raced: u64,
    /// Attempts accepted.
    pub attempts_succeeded: u64,
    /// Attempts that failed by themselves.
    pub attempts_failed: u64,
    /// Attempts whose input could not be read.
    pub attempts_fetch_failed: u64,
    /// Attempts that were cancelled.
    pub attempts_cancelled: u64,
    /// Attempts that ended with their worker.
    pub attempts_lost: u64,
    /// Finished tasks whose output was lost and made again.
    pub outputs_lost: u64,
    /// Stages finished.
    pub stages_finished: u64,
    /// Reports and heartbeats dropped because of their epoch.
    pub stale_messages: u64,
    /// Registrations.
    pub registrations: u64,
    /// Workers lost.
    pub workers_lost: u64,
    /// Workers drained and released.
    pub workers_released: u64,
    /// Leases given.
    pub leases_granted: u64,
    /// Leases taken back, on their owner's wish or not.
    pub leases_revoked: u64,
    /// Wishes for leases that no worker can fulfil, as told to their owners.
    pub leases_refused: u64,
    /// Placement groups that got all their places, each time they did.
    pub groups_reserved: u64,
    /// Placement groups that were removed, or ended with their job.
    pub groups_removed: u64,
    /// Placement groups that no workers can hold.
    pub groups_failed: u64,
    /// Shuffle bytes read from the same worker, accepted attempts only.
    pub shuffle_local_bytes: u64,
    /// Shuffle bytes read from other workers, accepted attempts only.
    pub shuffle_remote_bytes: u64,
    /// Milliseconds attempts waited for input, accepted attempts only.
    pub fetch_wait_ms: u64,
    /// Bytes spilled, accepted attempts only.
    pub spilled_bytes: u64,
}
