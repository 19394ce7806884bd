//! Makes staged files visible, or removes them. Called by the coordinator: for all sinks of a job it checks whether they
//! can be published, then journals the one intent to do so, then publishes one after the other.
//! Invariant: a call may be cut off anywhere and repeated; each repeat goes on to the same end.

mod disk;
mod local;
mod object;

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tandem_proto::JobId;
use tandem_proto::v1::StagedFile;

use self::disk::RealDisk;
use super::error::SinkError;
use super::spec::SinkSpec;
use super::staging::is_plain_relative;
use super::target::Target;
use crate::storage::Storage;

/// All that one sink publishes for one job.
#[derive(Debug, Clone)]
pub struct SinkCommit {
    /// The sink.
    pub spec: SinkSpec,
    /// The job; its id is the commit's.
    pub job: JobId,
    /// The files of the accepted attempts; those of other sinks are left alone.
    pub files: Vec<StagedFile>,
}

/// What a [`publish`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Files that readers see now.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Whether `commit` can be published as things stand; true also when a call of [`publish`] was cut off or done. Changes
/// nothing.
///
/// # Errors
/// What [`publish`] would meet; see [`SinkError::retryable`].
pub async fn check(commit: &SinkCommit, storage: &Arc<Storage>) -> Result<(), SinkError> {
    let commit = commit.own_files()?;
    match open(&commit.spec, storage)? {
        Target::Local(target) => run_blocking(move || local::check(&RealDisk, &target, &commit)).await,
        Target::Object(target) => object::check(&target, &commit).await,
    }
}

/// Publishes the files of `commit`.
///
/// # Errors
/// See [`SinkError::retryable`]; call again with the same commit.
pub async fn publish(commit: &SinkCommit, storage: &Arc<Storage>) -> Result<Published, SinkError> {
    let commit = Arc::new(commit.own_files()?);
    match open(&commit.spec, storage)? {
        Target::Local(target) => {
            let blocking = commit.clone();
            run_blocking(move || local::publish(&RealDisk, &target, &blocking)).await?;
        }
        Target::Object(target) => object::publish(&target, &commit).await?,
    }
    Ok(Published {
        files: commit.files.len() as u64,
        rows: commit.files.iter().map(|file| file.rows).sum(),
        bytes: commit.files.iter().map(|file| file.bytes).sum(),
    })
}

/// Removes everything that `job` staged for `spec`, by attempts that reported it (`files`) or not.
///
/// # Errors
/// See [`SinkError::retryable`]; call again.
pub async fn abort(job: JobId, spec: &SinkSpec, files: &[StagedFile], storage: &Arc<Storage>) -> Result<(), SinkError> {
    match open(spec, storage)? {
        Target::Local(target) => run_blocking(move || local::abort(&RealDisk, &target, job)).await,
        Target::Object(target) => object::abort(&target, job, spec, files).await,
    }
}

fn open(spec: &SinkSpec, storage: &Storage) -> Result<Target, SinkError> {
    Target::open(spec, storage).map_err(|error| SinkError::Target(error.to_string()))
}

async fn run_blocking(work: impl FnOnce() -> Result<(), SinkError> + Send + 'static) -> Result<(), SinkError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SinkError::Target(format!("publishing broke off: {error}")))?
}

impl SinkCommit {
    /// This commit with the files of its own sink, none of which may leave the sink's folder.
    fn own_files(&self) -> Result<Self, SinkError> {
        let files: Vec<_> = self.files.iter().filter(|file| file.sink == self.spec.name).cloned().collect();
        let refuse = |file: &StagedFile, reason| Err(SinkError::Refused { path: file.final_path.clone(), reason });
        let mut names = HashSet::new();
        for file in &files {
            if !is_plain_relative(&file.final_path) {
                return refuse(file, "it leaves the sink's folder");
            }
            if !names.insert(file.final_path.as_str()) {
                return refuse(file, "two staged files belong there");
            }
        }
        Ok(Self { spec: self.spec.clone(), job: self.job, files })
    }
}

#[cfg(test)]
mod crash_tests;
