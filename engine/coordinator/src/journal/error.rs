//! Why the journal could not be opened, read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{CommitError, DatabaseError, StorageError, TableError, TransactionError};
use tandem_proto::JobId;

/// Split by what the receiver does: fix the start, free space, or restore the folder.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another coordinator owns the folder.
    #[error("the data folder {} is in use by another coordinator{}", path.display(), owner_text(*.pid))]
    Locked {
        /// The folder.
        path: PathBuf,
        /// The process that owns it, when it said so.
        pid: Option<u32>,
    },
    /// Nothing more fits on the disk. What was refused is not in the journal; what was accepted still is.
    #[error("no space left for the journal in {}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system refused to read or write.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is not what was written.
    #[error("the journal {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// Written by a newer Tandem.
    #[error("the journal {} has a record of version {found}; this binary knows version {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version of the record.
        found: u8,
        /// The highest version known here.
        known: u8,
    },
    /// The secrets of a job cannot be opened with the folder's key.
    #[error("the secrets of job {job} cannot be read with the key {}", path.display())]
    Secrets {
        /// Whose they are.
        job: JobId,
        /// The key file.
        path: PathBuf,
    },
    /// The key file is not one.
    #[error("{} is not a key of this journal", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
    },
    /// The journal was closed while the caller waited.
    #[error("the journal is closed")]
    Closed,
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

impl JournalError {
    /// What to do about it, if there is one thing to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Locked { .. } => Some("stop the other coordinator or give this one its own --data-dir".to_owned()),
            Self::Full { path } => Some(format!("free space on the disk of {}", path.display())),
            Self::Damaged { path, .. } => {
                Some(format!("restore {} from a copy, or move it away to start without its jobs", path.display()))
            }
            Self::Version { .. } => Some("start the Tandem version that wrote it, or a newer one".to_owned()),
            Self::Secrets { path, .. } | Self::Key { path } => {
                Some(format!("restore {}, or move the journal away to start without its jobs", path.display()))
            }
            Self::Io { .. } | Self::Closed => None,
        }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Io { path: path.to_owned(), source: Arc::new(source) },
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn from_redb(path: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            // What redb says of a file that is not its own, or that ends too early.
            redb::Error::Io(source)
                if matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Self::damaged(path, source)
            }
            redb::Error::Io(source) => Self::io(path, source),
            redb::Error::DatabaseAlreadyOpen => Self::Locked { path: path.to_owned(), pid: None },
            redb::Error::PreviousIo => {
                Self::io(path, io::Error::other("an earlier write failed; the journal is being opened again"))
            }
            other => Self::damaged(path, other),
        }
    }
}

/// Keeps the path out of every call: redb's errors do not name the file.
pub(super) trait AtPath<T> {
    fn at(self, path: &Path) -> Result<T, JournalError>;
}

macro_rules! at_path {
    ($($error:ty),*) => {$(
        impl<T> AtPath<T> for Result<T, $error> {
            fn at(self, path: &Path) -> Result<T, JournalError> {
                self.map_err(|error| JournalError::from_redb(path, error))
            }
        }
    )*};
}

at_path!(CommitError, DatabaseError, StorageError, TableError, TransactionError);
