//! How a command ends when it does not succeed: one `error:` line, maybe a `help:` line, and an exit code with a meaning.

use std::process::ExitCode;

use tandem_client::ClientError;

/// What the exit code of a command says. The numbers are part of the command line's contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
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

/// The end of a command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something to tell.
    Told {
        /// What the exit code says.
        exit: Exit,
        /// What is wrong, and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// Whoever read standard output has seen enough.
    ReaderGone,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Told { exit, message: message.into(), help: None }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Work on this machine that went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The same failure, saying what to do.
    pub(crate) fn with_help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Told { exit, message, help: _ } => Self::Told { exit, message, help: Some(text.into()) },
            Self::ReaderGone => Self::ReaderGone,
        }
    }

    /// The same failure when the cluster it happened on is gone: its commands cannot help any more.
    pub(crate) fn without_cluster(self) -> Self {
        match self {
            Self::Told { exit, message, help: Some(help) } if help.contains("tandem job ") => {
                let help = "run it again with --keep, then look at `tandem job list`".to_owned();
                Self::Told { exit, message, help: Some(help) }
            }
            other => other,
        }
    }

    /// Prints the failure and gives the process's exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::ReaderGone => ExitCode::SUCCESS,
            Self::Told { exit, message, help } => {
                eprintln!("error: {message}");
                if let Some(help) = help {
                    eprintln!("help: {help}");
                }
                ExitCode::from(exit as u8)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let (exit, default_help) = match &error {
            ClientError::Unreachable { .. } => {
                (Exit::Unreachable, Some("`tandem cluster status` says whether a local cluster runs"))
            }
            ClientError::Denied { .. } => (Exit::Denied, Some("give the cluster's token with --token-file")),
            ClientError::NotFound(_) => (Exit::NotFound, None),
            ClientError::Invalid { .. } => (Exit::Usage, None),
            ClientError::TimedOut(_) => (Exit::TimedOut, None),
            ClientError::Refused { .. } | ClientError::JobFailed { .. } => (Exit::Failed, None),
            ClientError::JobStopped(_) | ClientError::ResultLost { .. } => (Exit::Failed, None),
            ClientError::Protocol(_) => (Exit::Failed, Some("client and cluster must be of the same version")),
        };
        let help = error.help().or(default_help).map(ToOwned::to_owned);
        Self::Told { exit, message: describe(&error), help }
    }
}

fn describe(error: &ClientError) -> String {
    match error {
        ClientError::JobFailed { job, failure } => {
            let places = [("stage", &failure.stage), ("task", &failure.task), ("worker", &failure.worker)];
            let mut text = format!("job {job} failed: {}", failure.cause);
            for (what, place) in places.into_iter().filter(|(_, place)| !place.is_empty()) {
                text.push_str(&format!(": {what} {place}"));
            }
            text
        }
        other => other.to_string(),
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::failed(error.to_string()),
        }
    }
}
