//! Sinks from batches to files that other readers read.

mod buckets;
mod disk_full;
mod partitions;
mod read_back;
mod round_trip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, Int64Array, StringArray, StringViewArray};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::stream;
use tandem_proto::JobId;
use tandem_proto::v1::{RowCount, StagedFile, TaskAttempt};

use super::{SinkCommit, SinkFormat, SinkMode, SinkSpec, publish, write_partition};
use crate::error::TaskError;
use crate::scope::TaskScope;
use crate::storage::Storage;

/// A folder of a test's own, in memory where that is possible: publishing syncs at every step.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// One job that writes one sink.
pub(super) struct Job {
    pub(super) spec: SinkSpec,
    pub(super) job: JobId,
    pub(super) storage: Arc<Storage>,
    pub(super) runtime: Arc<RuntimeEnv>,
    pub(super) files: Vec<StagedFile>,
    pub(super) counts: Vec<RowCount>,
}

impl Job {
    pub(super) fn new(spec: SinkSpec, job: u64) -> Self {
        let storage = Arc::new(Storage::new(BTreeMap::new()));
        let runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(GreedyMemoryPool::new(256 << 20))).build_arc().unwrap();
        Self { spec, job: JobId(job), storage, runtime, files: Vec::new(), counts: Vec::new() }
    }

    /// Runs attempt `attempt` of the task that writes partition `partition`, which the job then accepts.
    pub(super) async fn write(
        &mut self,
        partition: u32,
        attempt: u32,
        batches: Vec<RecordBatch>,
    ) -> Result<(), TaskError> {
        let scope = self.attempt(partition, attempt, batches).await?;
        self.files.extend(scope.files());
        self.counts.extend(scope.counts());
        Ok(())
    }

    /// Runs an attempt that nobody hears of again.
    pub(super) async fn attempt(
        &self,
        partition: u32,
        attempt: u32,
        batches: Vec<RecordBatch>,
    ) -> Result<Arc<TaskScope>, TaskError> {
        let attempt = TaskAttempt { job: self.job.0, stage: 1, task: partition, attempt };
        let scope = Arc::new(TaskScope::new(attempt, self.storage.clone()));
        let config = scope.clone().attach(SessionConfig::new());
        let context = SessionContext::new_with_config_rt(config, self.runtime.clone()).task_ctx();
        sendable(write_partition(&self.spec, partition, stream_of(batches), &scope, &context)).await?;
        Ok(scope)
    }

    pub(super) fn commit(&self) -> SinkCommit {
        SinkCommit { spec: self.spec.clone(), job: self.job, files: self.files.clone() }
    }

    pub(super) async fn publish(&self) {
        publish(&self.commit(), &self.storage).await.unwrap();
    }
}

/// Tasks move between threads, so their parts must.
fn sendable<T: Send>(future: T) -> T {
    future
}

pub(super) fn stream_of(batches: Vec<RecordBatch>) -> SendableRecordBatchStream {
    let schema = batches[0].schema();
    Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches.into_iter().map(Ok))))
}

/// Rows numbered from `start`, with a day, a text (a view, as DataFusion makes them) and an amount.
pub(super) fn rows(start: i64, len: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(start..start + len);
    let days = Date32Array::from_iter((start..start + len).map(|id| (id % 7 != 6).then_some(20_000 + (id % 3) as i32)));
    let names =
        StringViewArray::from_iter((start..start + len).map(|id| (id % 5 != 4).then(|| format!("näme, \"{id}\""))));
    let amounts = Float64Array::from_iter_values((start..start + len).map(|id| id as f64 / 4.0));
    let columns: [(&str, ArrayRef); 4] =
        [("id", Arc::new(ids)), ("day", Arc::new(days)), ("name", Arc::new(names)), ("amount", Arc::new(amounts))];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Rows with one text column `key`, and their number.
pub(super) fn keyed(keys: impl IntoIterator<Item = String>) -> RecordBatch {
    let keys: Vec<_> = keys.into_iter().collect();
    let numbers = Int64Array::from_iter_values(0..keys.len() as i64);
    let columns: [(&str, ArrayRef); 2] = [("key", Arc::new(StringArray::from(keys))), ("number", Arc::new(numbers))];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) fn folder_sink(path: &Path, format: SinkFormat, mode: SinkMode) -> SinkSpec {
    SinkSpec { mode, ..SinkSpec::new("out", path.to_str().unwrap(), format) }
}

/// All files below `folder` by relative path, with their contents.
pub(super) fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    files
}

/// The paths of a tree that plain readers look at.
pub(super) fn visible(files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<String> {
    let hidden = |path: &str| path.split('/').any(|part| part.starts_with(['_', '.']) && !part.contains('='));
    files.keys().filter(|path| !hidden(path)).cloned().collect()
}
