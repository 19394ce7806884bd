//! What one task attempt counts and leaves behind, reachable from every operator of its plan through the task context.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use tandem_proto::JobId;
use tandem_proto::v1::{RowCount, RowCountKind, StagedFile, TaskAttempt};

use crate::sink::remove_staged_locally;
use crate::storage::Storage;

/// The attempt that a plan is executed for, its counters and the files it staged. One per attempt; dropped with it, so
/// that nothing of a failed attempt is ever counted.
#[derive(Debug)]
pub struct TaskScope {
    /// The attempt.
    pub attempt: TaskAttempt,
    /// Where sources, sinks and rejects are.
    pub storage: Arc<Storage>,
    counts: Mutex<BTreeMap<(i32, String), (u64, u64)>>,
    files: Mutex<Vec<StagedFile>>,
    reported: AtomicBool,
}

impl TaskScope {
    /// A fresh scope for `attempt`.
    pub fn new(attempt: TaskAttempt, storage: Arc<Storage>) -> Self {
        Self { attempt, storage, counts: Mutex::default(), files: Mutex::default(), reported: AtomicBool::new(false) }
    }

    /// The scope of the attempt that `context` belongs to; none when a plan is executed outside of a task.
    pub fn of(context: &TaskContext) -> Option<Arc<Self>> {
        context.session_config().get_extension::<Self>()
    }

    /// Puts this scope where operators find it.
    pub fn attach(self: Arc<Self>, config: SessionConfig) -> SessionConfig {
        config.with_extension(self)
    }

    /// A file name part that no other attempt of any job uses.
    pub fn unique_name(&self) -> String {
        let TaskAttempt { job, stage, task, attempt } = self.attempt;
        format!("{job:016x}-{stage}-{task}-{attempt}")
    }

    /// Adds to the count of one source, step or sink. Call once per batch, not per row.
    pub fn count(&self, kind: RowCountKind, name: &str, rows: u64, bytes: u64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.entry((kind as i32, name.to_owned())).or_default();
        entry.0 += rows;
        entry.1 += bytes;
    }

    /// Remembers a staged file for the job's commit.
    pub fn add_file(&self, file: StagedFile) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// All counts so far.
    pub fn counts(&self) -> Vec<RowCount> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((kind, name), &(rows, bytes))| RowCount { name: name.clone(), kind: *kind, rows, bytes })
            .collect()
    }

    /// All files staged so far, for the attempt's report: from now on they are the job's.
    pub fn files(&self) -> Vec<StagedFile> {
        self.reported.store(true, Ordering::Relaxed);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for TaskScope {
    /// Files that no report names would only be in the way until the job ends.
    fn drop(&mut self) {
        if !self.reported.load(Ordering::Relaxed) {
            let files = self.files.get_mut().unwrap_or_else(PoisonError::into_inner);
            remove_staged_locally(JobId(self.attempt.job), files);
        }
    }
}
