//! What workers report of task attempts, in the state machine's own types. The shell converts the wire's.

use std::fmt;

use serde::{Deserialize, Serialize};
use tandem_proto::{Attempt, PartitionId, StageId, TaskId, WorkerId};

/// One attempt to run one task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task.
    pub task: TaskId,
    /// Which attempt.
    pub attempt: Attempt,
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.task, self.attempt)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskOutcome {
    /// Its output is complete and kept by the worker.
    Finished(Box<TaskOutput>),
    /// It left nothing that counts.
    Failed(TaskFailure),
}

/// What a finished attempt leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOutput {
    /// Bytes of each output partition, log-scaled into one byte as `cluster.proto` says.
    pub partition_sizes: Box<[u8]>,
    /// What it counted.
    pub metrics: TaskMetrics,
    /// Files it staged for a sink.
    pub files: Vec<StagedFile>,
}

/// What one attempt counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMetrics {
    /// Rows and bytes by source, step and sink.
    pub counts: Vec<RowCount>,
    /// What each operator did.
    pub operators: Vec<OperatorMetrics>,
    /// Rows put out.
    pub output_rows: u64,
    /// Bytes put out.
    pub output_bytes: u64,
    /// Shuffle bytes read from the same worker.
    pub shuffle_local_bytes: u64,
    /// Shuffle bytes read from other workers.
    pub shuffle_remote_bytes: u64,
    /// Time spent waiting for input.
    pub fetch_wait_ms: u64,
    /// Bytes spilled.
    pub spilled_bytes: u64,
}

/// Rows and bytes that one source, step or sink counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCount {
    /// The source's, step's or sink's name.
    pub name: String,
    /// What was counted.
    pub kind: CountKind,
    /// Rows.
    pub rows: u64,
    /// Bytes, where they are counted.
    pub bytes: u64,
}

/// What a [`RowCount`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CountKind {
    /// Rows and bytes a source read.
    Read,
    /// Rows a source could not parse.
    Rejected,
    /// Rows that came out of a step.
    Step,
    /// Rows and bytes a sink wrote.
    Written,
    /// Rows of a step that do not meet a condition which only warns.
    Warned,
    /// Not rows, but what a function handled, such as tokens.
    Worked,
    /// Microseconds that this took.
    Timed,
}

/// What one operator of a stage plan did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorMetrics {
    /// Its place in the stage plan, in pre-order.
    pub node: u32,
    /// Its name.
    pub name: String,
    /// Rows it put out.
    pub output_rows: u64,
    /// Time it took.
    pub elapsed_ns: u64,
    /// Bytes it spilled.
    pub spilled_bytes: u64,
}

/// A file that waits for the job's commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StagedFile {
    /// The sink it belongs to.
    pub sink: String,
    /// Where it is now.
    pub staged_path: String,
    /// Where it belongs, relative to the sink's folder.
    pub final_path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// S3: the upload to complete; empty elsewhere.
    pub multipart_id: String,
    /// S3: the ETag of each part.
    pub parts: Vec<String>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskFailure {
    /// What to do about it.
    pub kind: FailureKind,
    /// What the worker says.
    pub message: String,
}

/// What a failed attempt asks the coordinator to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Try again; costs one of the task's attempts.
    Retry,
    /// Fail the job: it would fail anywhere.
    Fatal,
    /// Try again on another worker; costs one of the task's attempts.
    Resources,
    /// Nothing: it was asked for.
    Cancelled,
    /// Make this input again, then try again; costs nothing.
    Fetch {
        /// The stage that wrote the input.
        stage: StageId,
        /// The plan partition that wrote it.
        partition: PartitionId,
        /// Where it was read from.
        worker: WorkerId,
    },
}
