//! How staging and publishing fail, and what each failure means for a task.

use std::io;
use std::path::{Path, PathBuf};

use tandem_proto::JobId;

use crate::error::TaskError;

/// Why a file could not be staged, published or removed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The local filesystem refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The object store refused or could not be reached.
    #[error("cannot {action} {key}: {source}")]
    Store {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        key: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A staged file that the commit names is neither staged nor published.
    #[error("staged file {path} of job {job} is gone")]
    Lost {
        /// The job that staged it.
        job: JobId,
        /// Where it should be.
        path: String,
    },
    /// A staged file that is not where this sink stages files, or not of the size that was reported.
    #[error("staged file {path} is refused: {reason}")]
    Refused {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A sink that must not replace anything found data that another writer put there while the job ran.
    #[error("{path} has got data while the job ran")]
    Occupied {
        /// The sink's target.
        path: String,
    },
    /// The target is not a place that this process can open.
    #[error("{0}")]
    Target(String),
}

impl SinkError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn store(
        action: &'static str,
        key: &object_store::path::Path,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let key = key.to_string();
        move |source| Self::Store { action, key, source }
    }

    /// Whether the same call may succeed later.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Io { .. } => true,
            Self::Store { source, .. } => !is_denied(source),
            Self::Lost { .. } | Self::Refused { .. } | Self::Occupied { .. } | Self::Target(_) => false,
        }
    }
}

/// Whether asking again cannot help: the credentials do not allow it, or the bucket does not exist.
pub(crate) fn is_denied(error: &object_store::Error) -> bool {
    use object_store::Error;
    matches!(
        error,
        Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotFound { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
    )
}

impl From<SinkError> for TaskError {
    fn from(error: SinkError) -> Self {
        let message = error.to_string();
        match error {
            SinkError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    Self::Resources(message)
                }
                _ => Self::Retry(message),
            },
            SinkError::Store { ref source, .. } if is_denied(source) => Self::Fatal(message),
            SinkError::Store { .. } => Self::Retry(message),
            SinkError::Lost { .. } | SinkError::Refused { .. } | SinkError::Occupied { .. } | SinkError::Target(_) => {
                Self::Fatal(message)
            }
        }
    }
}
