//! How a command ends when it does not succeed: one `error:` line, maybe a `help:` line, and an exit code with a meaning.

use std::process::ExitCode;

use tandem_client::ClientError;
pub(crate) use tandem_client::Exit;

use crate::output::tell;

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

    /// The same failure, after what could not be done because of it.
    pub(crate) fn in_context(self, what: impl std::fmt::Display) -> Self {
        match self {
            Self::Told { exit, message, help } => Self::Told { exit, message: format!("{what}: {message}"), help },
            Self::ReaderGone => Self::ReaderGone,
        }
    }

    /// The same failure when the cluster it happened on is gone: its commands cannot help any more, but `instead` may.
    pub(crate) fn without_cluster(self, instead: Option<&str>) -> Self {
        match self {
            Self::Told { exit, message, help: Some(help) } if help.contains("tandem job ") => {
                Self::Told { exit, message, help: instead.map(ToOwned::to_owned) }
            }
            other => other,
        }
    }

    /// Prints the failure and gives the process's exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::ReaderGone => ExitCode::SUCCESS,
            Self::Told { exit, message, help } => {
                tell!("error: {message}");
                if let Some(help) = help {
                    tell!("help: {help}");
                }
                ExitCode::from(exit as u8)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let default_help = match &error {
            ClientError::Unreachable { .. } => Some("`tandem cluster status` says whether a local cluster runs"),
            ClientError::Denied { .. } => Some("give the cluster's token with --token-file"),
            ClientError::Protocol(_) => Some("client and cluster must be of the same version"),
            _ => None,
        };
        let help = error.help().or(default_help).map(ToOwned::to_owned);
        Self::Told { exit: error.exit(), message: error.to_string(), help }
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
