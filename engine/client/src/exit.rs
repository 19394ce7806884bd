//! What the exit code of a command or program that uses a cluster says.

use crate::error::ClientError;

/// The numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The job, or what else the command was to do, failed.
    Failed = 1,
    /// Wrong usage, job file or SQL; nothing has run.
    Usage = 2,
    /// No such job, node or file.
    NotFound = 3,
    /// No cluster answers.
    Unreachable = 4,
    /// The token is missing or wrong.
    Denied = 5,
    /// Not done in time.
    TimedOut = 6,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl ClientError {
    /// What a command that meets it exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Denied { .. } => Exit::Denied,
            Self::NotFound(_) => Exit::NotFound,
            Self::Invalid { .. } => Exit::Usage,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Refused { .. }
            | Self::JobFailed { .. }
            | Self::JobStopped { .. }
            | Self::ResultLost { .. }
            | Self::Protocol(_) => Exit::Failed,
        }
    }
}
