//! How a client does not end well: one `error:` line, maybe a `help:` line, and an exit code as that of the command line.

use std::process::ExitCode;

use tandem_actor_protocol::failure::Failure;
use tandem_client::{ClientError, Exit, TargetError, Unfit};

/// See the module's header.
#[derive(Debug)]
pub(super) struct Ended {
    exit: Exit,
    message: String,
    help: Option<String>,
}

impl Ended {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Prints it and gives the process's exit code.
    pub(super) fn report(self) -> ExitCode {
        ExitCode::from(self.print() as u8)
    }

    /// Prints it and ends the process.
    pub(super) fn exit(self) -> ! {
        std::process::exit(self.print() as i32)
    }

    fn print(self) -> Exit {
        eprintln!("error: {}", self.message);
        if let Some(help) = self.help {
            eprintln!("help: {help}");
        }
        self.exit
    }
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        let default_help = match &error {
            ClientError::Unreachable { .. } => Some("TANDEM_ADDRESS names the coordinator to talk to"),
            ClientError::Denied { .. } => Some("TANDEM_TOKEN_FILE names the file with the cluster's token"),
            ClientError::Protocol(_) => Some("program and cluster must be of the same version"),
            _ => None,
        };
        let help = error.help().or(default_help).map(ToOwned::to_owned);
        Self { exit: error.exit(), message: error.to_string(), help }
    }
}

impl From<TargetError> for Ended {
    fn from(error: TargetError) -> Self {
        let ended = Self::new(error.exit(), error.to_string());
        match error {
            TargetError::NoCluster(_) => {
                ended.with_help("start one with `tandem cluster up`, or name one with TANDEM_ADDRESS")
            }
            TargetError::Folder(_) | TargetError::Token(_) | TargetError::Authority { .. } => ended,
        }
    }
}

impl From<Unfit> for Ended {
    fn from(unfit: Unfit) -> Self {
        let ended = Self::new(Exit::Usage, format!("this program cannot be run on a cluster: {unfit}"));
        match unfit.help() {
            Some(help) => ended.with_help(help),
            None => ended,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::new(Exit::Failed, failure.to_string())
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, format!("this program cannot become a client: {error}"))
    }
}
