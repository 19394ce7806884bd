//! How a request to a cluster fails, split by what the caller does next.

use tandem_proto::transport::ConnectError;
use tandem_proto::{JobId, v1};
use tonic::{Code, Status};

/// Separates what is wrong from what to do about it in the message of a gRPC status.
const HELP_MARK: &str = "\nhelp: ";

/// Why a request was not answered as hoped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers there; start a cluster or give another address.
    #[error("cannot reach the coordinator: {address}: {reason}")]
    Unreachable {
        /// Where it was expected.
        address: String,
        /// What the connection met.
        reason: String,
    },
    /// The token is missing, wrong, or not enough.
    #[error("denied by the cluster: {address}: {reason}")]
    Denied {
        /// Who denied it.
        address: String,
        /// Why.
        reason: String,
    },
    /// There is no such job, node or result.
    #[error("{0}")]
    NotFound(String),
    /// The request itself is wrong: SQL, job file, argument. Nothing has run.
    #[error("{message}")]
    Invalid {
        /// What is wrong and where.
        message: String,
        /// What to do, if the cluster knows.
        help: Option<String>,
    },
    /// The cluster cannot do that now.
    #[error("{message}")]
    Refused {
        /// What stands in the way.
        message: String,
        /// What to do, if the cluster knows.
        help: Option<String>,
    },
    /// No answer in time.
    #[error("no answer in time from {0}")]
    TimedOut(String),
    /// The job ran and failed.
    #[error("job {job} failed: {}", placed(.failure))]
    JobFailed {
        /// Which job.
        job: JobId,
        /// Stage, task, worker, cause and what to do next.
        failure: Box<v1::JobFailure>,
    },
    /// Somebody stopped the job.
    #[error("job {job} was stopped{}", because(.reason))]
    JobStopped {
        /// Which job.
        job: JobId,
        /// Why, if that was said.
        reason: String,
    },
    /// Rows of a finished query can no longer be read; the query must run again.
    #[error("the result of {job} is gone: {reason}")]
    ResultLost {
        /// Which job.
        job: JobId,
        /// What the read met.
        reason: String,
    },
    /// Client and cluster do not speak the same version.
    #[error("cannot understand the answer of the cluster: {0}")]
    Protocol(String),
}

impl ClientError {
    /// The error that `status`, an answer from `address`, stands for.
    pub(crate) fn from_status(address: &str, status: &Status) -> Self {
        let (message, help) = split_help(status.message());
        let address = address.to_owned();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied { address, reason: message },
            Code::NotFound => Self::NotFound(message),
            Code::InvalidArgument | Code::OutOfRange | Code::AlreadyExists => Self::Invalid { message, help },
            Code::FailedPrecondition | Code::ResourceExhausted | Code::Aborted => Self::Refused { message, help },
            Code::DeadlineExceeded => Self::TimedOut(address),
            Code::Unimplemented | Code::DataLoss => Self::Protocol(message),
            Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::Unavailable => {
                Self::Unreachable { address, reason: describe(status, message) }
            }
        }
    }

    /// The error that a connection that never came up stands for.
    pub(crate) fn from_connect(error: ConnectError) -> Self {
        match error {
            ConnectError::Unreachable { address, reason } => Self::Unreachable { address, reason },
            ConnectError::Address { .. }
            | ConnectError::Refused { .. }
            | ConnectError::ClearText { .. }
            | ConnectError::Authority { .. } => Self::Invalid { message: error.to_string(), help: None },
        }
    }

    /// What to do about it, if it says.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Invalid { help, .. } | Self::Refused { help, .. } => help.as_deref(),
            Self::JobFailed { failure, .. } => Some(failure.help.as_str()).filter(|help| !help.is_empty()),
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::NotFound(_)
            | Self::TimedOut(_)
            | Self::JobStopped { .. }
            | Self::ResultLost { .. }
            | Self::Protocol(_) => None,
        }
    }
}

/// Whether `status` says that the connection or the process behind it went away, rather than what it thinks of the request.
pub(crate) fn is_broken_connection(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted)
}

/// The cause, and where it was met.
fn placed(failure: &v1::JobFailure) -> String {
    let mut text = failure.cause.clone();
    let places = [("stage", &failure.stage), ("task", &failure.task), ("worker", &failure.worker)];
    for (what, place) in places.into_iter().filter(|(_, place)| !place.is_empty()) {
        text.push_str(&format!(": {what} {place}"));
    }
    text
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn split_help(text: &str) -> (String, Option<String>) {
    match text.split_once(HELP_MARK) {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// The innermost cause says more than `transport error`.
fn describe(status: &Status, message: String) -> String {
    let mut innermost: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(next) = innermost.and_then(|error| error.source()) {
        innermost = Some(next);
    }
    innermost.map_or(message, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_becomes_what_the_caller_must_do() {
        let of = |code| ClientError::from_status("host:1", &Status::new(code, "words"));
        assert!(matches!(of(Code::Unauthenticated), ClientError::Denied { .. }));
        assert!(matches!(of(Code::NotFound), ClientError::NotFound(_)));
        assert!(matches!(of(Code::InvalidArgument), ClientError::Invalid { .. }));
        assert!(matches!(of(Code::FailedPrecondition), ClientError::Refused { .. }));
        assert!(matches!(of(Code::DeadlineExceeded), ClientError::TimedOut(_)));
        assert!(matches!(of(Code::Unavailable), ClientError::Unreachable { .. }));
        assert!(matches!(of(Code::Unimplemented), ClientError::Protocol(_)));
    }

    #[test]
    fn help_is_kept_apart_from_the_message() {
        let status = Status::invalid_argument("unknown key `frm`: job.toml:3\nhelp: did you mean `from`?");
        let error = ClientError::from_status("host:1", &status);
        assert_eq!(error.to_string(), "unknown key `frm`: job.toml:3");
        assert_eq!(error.help(), Some("did you mean `from`?"));
    }
}
