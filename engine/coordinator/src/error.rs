//! Why a coordinator does not start, or stops.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use tandem_proto::transport::{BindError, TlsError, TokenError};

use crate::journal::JournalError;

/// Nothing was served when this comes from `bind`.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// An address is taken or is none of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// An address others can reach, without TLS.
    #[error(transparent)]
    Exposed(#[from] BindError),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificates that signed the workers' cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder beside the journal cannot be used.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The threads for planning could not be started.
    #[error("cannot start the planner's threads: {0}")]
    Threads(io::Error),
    /// A listener broke.
    #[error("the {listener} port stopped serving: {reason}")]
    Serve {
        /// Which.
        listener: &'static str,
        /// Why.
        reason: String,
    },
    /// The task that holds the cluster's state is gone; a bug.
    #[error("the cluster's state was lost: {0}")]
    Owner(String),
}

impl CoordinatorError {
    /// What to do about it, if there is one thing to do.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("stop what listens there or choose another address with --listen and --http".to_owned())
            }
            Self::Exposed(_) => Some("`tandem cert create` makes a certificate and key".to_owned()),
            Self::Token(TokenError::Read { .. } | TokenError::Malformed { .. }) => {
                Some("`tandem token create` makes a token".to_owned())
            }
            Self::Journal(error) => error.help(),
            Self::Listen { .. }
            | Self::Token(TokenError::Write { .. })
            | Self::Tls(_)
            | Self::Authority { .. }
            | Self::Folder { .. }
            | Self::Threads(_)
            | Self::Serve { .. }
            | Self::Owner(_) => None,
        }
    }
}
