//! Jobs, stages, tasks, nodes and clusters as they are printed: the wire's messages with names instead of numbers.

use std::collections::BTreeMap;

use serde::Serialize;
use tandem_proto::v1::{self, JobState, NodeState, RowCountKind, TaskState};
use tandem_proto::{JobId, WorkerId};

use super::records::Record;
use super::time::{ago, between};
use super::units::{format_bytes, format_count};

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    id: String,
    name: String,
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pending_reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pending_text: String,
    submitted_ms: i64,
    started_ms: i64,
    ended_ms: i64,
    retries_used: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<FailureView>,
    counts: Vec<CountView>,
    stages: Vec<StageView>,
}

#[derive(Debug, Serialize)]
struct FailureView {
    stage: String,
    task: String,
    worker: String,
    cause: String,
    help: String,
}

#[derive(Debug, Serialize)]
struct CountView {
    name: String,
    kind: &'static str,
    rows: u64,
    bytes: u64,
}

impl From<v1::JobStatus> for JobView {
    fn from(status: v1::JobStatus) -> Self {
        let state = status.state();
        Self {
            id: JobId(status.job).to_string(),
            name: status.name,
            state: job_state(state),
            pending_reason: status.pending_reason,
            pending_text: status.pending_text,
            submitted_ms: status.submitted_ms,
            started_ms: status.started_ms,
            ended_ms: status.ended_ms,
            retries_used: status.retries_used,
            failure: status.failure.map(FailureView::from),
            counts: status.counts.into_iter().map(CountView::from).collect(),
            stages: status.stages.into_iter().map(StageView::from).collect(),
        }
    }
}

impl From<v1::JobFailure> for FailureView {
    fn from(failure: v1::JobFailure) -> Self {
        let v1::JobFailure { stage, task, worker, cause, help } = failure;
        Self { stage, task, worker, cause, help }
    }
}

impl From<v1::RowCount> for CountView {
    fn from(count: v1::RowCount) -> Self {
        let kind = count_kind(count.kind());
        Self { name: count.name, kind, rows: count.rows, bytes: count.bytes }
    }
}

impl Record for JobView {
    const COLUMNS: &'static [&'static str] = &["id", "name", "state", "submitted", "ran", "tasks", "about"];

    fn cells(&self) -> Vec<String> {
        let finished: u32 = self.stages.iter().map(|stage| stage.finished).sum();
        let tasks: u32 = self.stages.iter().map(|stage| stage.tasks).sum();
        let about = match &self.failure {
            Some(failure) => first_line(&failure.cause),
            None => self.pending_text.clone(),
        };
        vec![
            self.id.clone(),
            self.name.clone(),
            self.state.to_owned(),
            ago(self.submitted_ms),
            between(self.started_ms, self.ended_ms),
            format!("{finished}/{tasks}"),
            about,
        ]
    }
}

/// A stage of a job.
#[derive(Debug, Serialize)]
pub(crate) struct StageView {
    stage: u32,
    name: String,
    inputs: Vec<u32>,
    tasks: u32,
    pending: u32,
    running: u32,
    finished: u32,
    failed_attempts: u32,
    rows: u64,
    bytes: u64,
    started_ms: i64,
    ended_ms: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pending_reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pending_text: String,
    /// What each of its tasks needs besides a slot.
    #[serde(skip_serializing_if = "String::is_empty")]
    needs: String,
    /// The stage that does its work in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken_over_by: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    plan: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    operators: Vec<OperatorView>,
}

#[derive(Debug, Serialize)]
struct OperatorView {
    node: u32,
    name: String,
    output_rows: u64,
    elapsed_ns: u64,
    spilled_bytes: u64,
}

impl From<v1::StageStatus> for StageView {
    fn from(stage: v1::StageStatus) -> Self {
        Self {
            stage: stage.stage,
            name: stage.name,
            inputs: stage.inputs,
            tasks: stage.tasks,
            pending: stage.pending,
            running: stage.running,
            finished: stage.finished,
            failed_attempts: stage.failed_attempts,
            rows: stage.rows,
            bytes: stage.bytes,
            started_ms: stage.started_ms,
            ended_ms: stage.ended_ms,
            pending_reason: stage.pending_reason,
            taken_over_by: Some(stage.taken_over_by).filter(|stage| *stage > 0),
            pending_text: stage.pending_text,
            needs: stage.needs,
            plan: stage.plan,
            operators: stage.operators.into_iter().map(OperatorView::from).collect(),
        }
    }
}

impl From<v1::OperatorMetrics> for OperatorView {
    fn from(operator: v1::OperatorMetrics) -> Self {
        let v1::OperatorMetrics { node, name, output_rows, elapsed_ns, spilled_bytes } = operator;
        Self { node, name, output_rows, elapsed_ns, spilled_bytes }
    }
}

impl Record for StageView {
    const COLUMNS: &'static [&'static str] =
        &["stage", "name", "inputs", "tasks", "failed", "rows", "bytes", "ran", "about"];

    fn cells(&self) -> Vec<String> {
        let inputs: Vec<String> = self.inputs.iter().map(ToString::to_string).collect();
        vec![
            self.stage.to_string(),
            self.name.clone(),
            inputs.join(","),
            format!("{}/{}", self.finished, self.tasks),
            self.failed_attempts.to_string(),
            format_count(self.rows),
            format_bytes(self.bytes),
            between(self.started_ms, self.ended_ms),
            self.taken_over_by.map_or_else(|| self.pending_text.clone(), |by| format!("taken over by stage {by}")),
        ]
    }
}

/// One attempt of a task.
#[derive(Debug, Serialize)]
pub(crate) struct TaskView {
    stage: u32,
    stage_name: String,
    task: u32,
    attempt: u32,
    state: &'static str,
    worker: String,
    rows: u64,
    bytes: u64,
    started_ms: i64,
    ended_ms: i64,
    message: String,
    pending_reason: String,
    pending_text: String,
}

impl From<v1::TaskStatus> for TaskView {
    fn from(task: v1::TaskStatus) -> Self {
        let state = task_state(task.state());
        let attempt = task.attempt.unwrap_or_default();
        Self {
            stage: attempt.stage,
            stage_name: task.stage_name,
            task: attempt.task,
            attempt: attempt.attempt,
            state,
            worker: task.worker,
            rows: task.rows,
            bytes: task.bytes,
            started_ms: task.started_ms,
            ended_ms: task.ended_ms,
            message: task.message,
            pending_reason: task.pending_reason,
            pending_text: task.pending_text,
        }
    }
}

impl Record for TaskView {
    const COLUMNS: &'static [&'static str] =
        &["stage", "task", "attempt", "state", "worker", "rows", "bytes", "ran", "about"];

    fn cells(&self) -> Vec<String> {
        let about = if self.message.is_empty() { self.pending_text.clone() } else { first_line(&self.message) };
        vec![
            format!("{} {}", self.stage, self.stage_name),
            self.task.to_string(),
            self.attempt.to_string(),
            self.state.to_owned(),
            self.worker.clone(),
            format_count(self.rows),
            format_bytes(self.bytes),
            if self.state == task_state(TaskState::Running) || self.ended_ms > 0 {
                between(self.started_ms, self.ended_ms)
            } else {
                String::new()
            },
            about,
        ]
    }
}

/// A worker.
#[derive(Debug, Serialize)]
pub(crate) struct NodeView {
    id: String,
    name: String,
    state: &'static str,
    slots: u32,
    slots_used: u32,
    memory_bytes: u64,
    rss_bytes: u64,
    stored_bytes: u64,
    spilled_bytes: u64,
    data_address: String,
    http_address: String,
    pid: u32,
    version: String,
    joined_ms: i64,
    labels: BTreeMap<String, String>,
    /// Thousandths of all it has by name, and of what tasks and leases take.
    resources: BTreeMap<String, u64>,
    resources_used: BTreeMap<String, u64>,
    leases: u32,
}

impl From<v1::NodeStatus> for NodeView {
    fn from(node: v1::NodeStatus) -> Self {
        let state = node_state(node.state());
        Self {
            id: WorkerId(node.worker).to_string(),
            name: node.name,
            state,
            slots: node.slots,
            slots_used: node.slots_used,
            memory_bytes: node.memory_bytes,
            rss_bytes: node.rss_bytes,
            stored_bytes: node.stored_bytes,
            spilled_bytes: node.spilled_bytes,
            data_address: node.data_address,
            http_address: node.http_address,
            pid: node.pid,
            version: node.version,
            joined_ms: node.joined_ms,
            labels: node.labels.into_iter().collect(),
            resources: amounts(node.resources),
            resources_used: amounts(node.used),
            leases: node.leases,
        }
    }
}

fn amounts(resources: Option<v1::Resources>) -> BTreeMap<String, u64> {
    resources.unwrap_or_default().milli.into_iter().collect()
}

impl NodeView {
    /// Whether `text` is its name or its id.
    pub(crate) fn is_called(&self, text: &str) -> bool {
        self.name == text || self.id == text
    }
}

impl Record for NodeView {
    const COLUMNS: &'static [&'static str] =
        &["name", "id", "state", "slots", "memory", "rss", "stored", "spilled", "pid", "data", "joined"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.id.clone(),
            self.state.to_owned(),
            format!("{}/{}", self.slots_used, self.slots),
            format_bytes(self.memory_bytes),
            format_bytes(self.rss_bytes),
            format_bytes(self.stored_bytes),
            format_bytes(self.spilled_bytes),
            self.pid.to_string(),
            self.data_address.clone(),
            ago(self.joined_ms),
        ]
    }
}

/// A cluster.
#[derive(Debug, Serialize)]
pub(crate) struct ClusterView {
    pub(crate) address: String,
    pub(crate) http_address: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) term: u64,
    pub(crate) started_ms: i64,
    pub(crate) nodes_ready: u32,
    pub(crate) slots: u32,
    pub(crate) slots_used: u32,
    pub(crate) jobs_running: u32,
    /// Process id of what keeps a local cluster up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) supervisor_pid: Option<u32>,
    /// Its other processes, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) processes: BTreeMap<String, u32>,
}

impl ClusterView {
    pub(crate) fn new(address: &str, status: v1::ClusterStatus) -> Self {
        Self {
            address: address.to_owned(),
            http_address: status.http_address,
            name: status.name,
            version: status.version,
            term: status.term,
            started_ms: status.started_ms,
            nodes_ready: status.nodes_ready,
            slots: status.slots,
            slots_used: status.slots_used,
            jobs_running: status.jobs_running,
            supervisor_pid: None,
            processes: BTreeMap::new(),
        }
    }
}

impl Record for ClusterView {
    const COLUMNS: &'static [&'static str] =
        &["address", "http", "name", "version", "nodes", "slots", "jobs", "up", "supervisor"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.address.clone(),
            self.http_address.clone(),
            self.name.clone(),
            self.version.clone(),
            self.nodes_ready.to_string(),
            format!("{}/{}", self.slots_used, self.slots),
            self.jobs_running.to_string(),
            ago(self.started_ms),
            self.supervisor_pid.map(|pid| pid.to_string()).unwrap_or_default(),
        ]
    }
}

pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// The state as users know it.
pub(crate) fn job_state(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "UNKNOWN",
        JobState::Pending => "PENDING",
        JobState::Running => "RUNNING",
        JobState::Succeeded => "SUCCEEDED",
        JobState::Failed => "FAILED",
        JobState::Stopped => "STOPPED",
        JobState::Skipped => "SKIPPED",
    }
}

fn task_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Unspecified => "UNKNOWN",
        TaskState::Pending => "PENDING",
        TaskState::Running => "RUNNING",
        TaskState::Succeeded => "SUCCEEDED",
        TaskState::Failed => "FAILED",
        TaskState::Cancelled => "CANCELLED",
        TaskState::Lost => "LOST",
    }
}

fn node_state(state: NodeState) -> &'static str {
    match state {
        NodeState::Unspecified => "UNKNOWN",
        NodeState::Ready => "READY",
        NodeState::Draining => "DRAINING",
        NodeState::Suspect => "SUSPECT",
        NodeState::Lost => "LOST",
    }
}

/// The kind as users know it.
pub(crate) fn count_kind(kind: RowCountKind) -> &'static str {
    match kind {
        RowCountKind::Unspecified => "unknown",
        RowCountKind::Read => "read",
        RowCountKind::Rejected => "rejected",
        RowCountKind::Step => "step",
        RowCountKind::Written => "written",
        RowCountKind::Warned => "warned",
        RowCountKind::Worked => "worked",
        RowCountKind::Timed => "microseconds",
    }
}
