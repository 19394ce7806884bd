//! Where a task's inputs are, and how remote ones are fetched. Reachable from every operator through the task context.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::TaskContext;
use futures::stream::BoxStream;
use tandem_graph::InputSlice;
use tandem_proto::{Attempt, JobId, PartitionId, StageId, WorkerId, v1};
use tandem_store::ShuffleStore;

/// Why output could not be fetched from another worker.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// The worker answers but does not have it (any more).
    #[error("not kept there: {reason}")]
    NotFound {
        /// Which of those that were asked for, if it says.
        partition: Option<PartitionId>,
        /// What it says.
        reason: String,
    },
    /// The worker could not be reached, after the few tries that make sense.
    #[error("{0}")]
    Unreachable(String),
}

/// Fetches stored output from other workers. Implemented over gRPC by the worker and in memory by tests.
#[async_trait]
pub trait FetchRemote: Send + Sync + std::fmt::Debug {
    /// One Arrow IPC stream of what `request` names, in pieces.
    async fn fetch(
        &self,
        worker: WorkerId,
        address: &str,
        request: v1::FetchRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError>;
}

/// Who wrote one partition of an input stage, and which attempt of it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// Index into [`InputLocations::workers`].
    pub worker: u32,
    /// The attempt whose output is to be read; no other may be.
    pub attempt: Attempt,
}

/// Where the output of one input stage is.
#[derive(Debug, Clone, Default)]
pub struct InputLocations {
    /// The workers that hold some of it, with the address of their data ports.
    pub workers: Vec<(WorkerId, String)>,
    /// For each output number of that stage, who wrote it.
    pub producers: Vec<Producer>,
}

/// The inputs of one task and the means to read them.
#[derive(Debug)]
pub struct TaskInputs {
    /// The job that all inputs belong to.
    pub job: JobId,
    /// The worker that this process is.
    pub here: WorkerId,
    /// This worker's own output.
    pub store: Arc<ShuffleStore>,
    /// Everyone else's.
    pub remote: Arc<dyn FetchRemote>,
    /// By input stage.
    pub stages: HashMap<StageId, InputLocations>,
    /// The one input of which only a part is read, if any.
    pub slice: Option<InputSlice>,
    /// What was read so far.
    pub traffic: ReadTraffic,
}

impl TaskInputs {
    /// The inputs that `context` belongs to; none when a plan is executed outside of a task.
    pub fn of(context: &TaskContext) -> Option<Arc<Self>> {
        context.session_config().get_extension::<Self>()
    }

    /// The producers of `stage`, of `count` in all, whose columns this task reads.
    pub(super) fn producers(&self, stage: StageId, count: usize) -> Range<u32> {
        let count = count as u32;
        match &self.slice {
            Some(slice) if slice.stage == stage => slice.producers.start.min(count)..slice.producers.end.min(count),
            _ => 0..count,
        }
    }
}

/// Counters of what a task read from other tasks' output.
#[derive(Debug, Default)]
pub struct ReadTraffic {
    local_bytes: AtomicU64,
    remote_bytes: AtomicU64,
    wait_ns: AtomicU64,
}

impl ReadTraffic {
    /// Bytes of batches taken from this worker's own store.
    pub fn add_local(&self, bytes: u64) {
        self.local_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that came over the network.
    pub fn add_remote(&self, bytes: u64) {
        self.remote_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Time since `start` that a reader had nothing to do.
    pub fn add_wait(&self, start: Instant) {
        let elapsed = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.wait_ns.fetch_add(elapsed, Ordering::Relaxed);
    }

    /// Local bytes, remote bytes and time spent waiting for them.
    pub fn totals(&self) -> (u64, u64, Duration) {
        (
            self.local_bytes.load(Ordering::Relaxed),
            self.remote_bytes.load(Ordering::Relaxed),
            Duration::from_nanos(self.wait_ns.load(Ordering::Relaxed)),
        )
    }
}
