//! How keeping and reading task output fails, split by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;

use crate::key::OutputKey;

/// Why output could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Never written here, not finished, or dropped. A reader makes it again; a writer stops.
    #[error("output of {key} is not in this store")]
    NotFound {
        /// What was asked for.
        key: OutputKey,
    },
    /// It was here but cannot be read back. A reader makes it again.
    #[error("output of {key} cannot be read back: {reason}")]
    Damaged {
        /// What was asked for.
        key: OutputKey,
        /// What the read met.
        reason: String,
    },
    /// The disk that holds the spill files is full. The task fails here; it may pass on another worker.
    #[error("no space left in {} to spill task output; free some or give the worker a spill folder on a larger disk", dir.display())]
    NoSpace {
        /// The folder of the spill files.
        dir: PathBuf,
    },
    /// Anything else the file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A batch that does not fit the schema its writer was opened with. A bug of the plan.
    #[error("batch for {key} does not fit the schema of its output: {reason}")]
    Schema {
        /// The output that was written.
        key: OutputKey,
        /// What differs.
        reason: String,
    },
    /// An output partition that the task does not have. A bug of the plan or a malformed request.
    #[error("output of {key} has {outputs} partitions, there is no {output}")]
    NoSuchOutput {
        /// The output that was written or read.
        key: OutputKey,
        /// The output partition that was named, or the end of the range.
        output: usize,
        /// How many there are.
        outputs: usize,
    },
    /// Arrow could not merge or encode a batch.
    #[error("cannot store a batch of {key}: {source}")]
    Arrow {
        /// The output that was written or read.
        key: OutputKey,
        /// What Arrow said.
        source: ArrowError,
    },
    /// The process is stopping: its blocking threads take no more work.
    #[error("the worker is shutting down")]
    ShuttingDown,
}

impl StoreError {
    /// Whether the output is gone, so that trying again here is no use and it must be made again.
    pub fn is_lost(&self) -> bool {
        self.lost().is_some()
    }

    /// The output that is gone, if it is.
    pub fn lost(&self) -> Option<OutputKey> {
        match self {
            Self::NotFound { key } | Self::Damaged { key, .. } => Some(*key),
            Self::NoSpace { .. }
            | Self::Io { .. }
            | Self::Schema { .. }
            | Self::NoSuchOutput { .. }
            | Self::Arrow { .. }
            | Self::ShuttingDown => None,
        }
    }

    /// Judges what the file system said about `path`, a spill file or folder inside `dir`.
    pub(crate) fn from_io(action: &'static str, dir: &Path, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { dir: dir.to_owned() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }
}
