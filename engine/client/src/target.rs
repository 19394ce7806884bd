//! Which cluster is meant, and what to show it: what was named, else the local cluster of the user.

use std::path::{Path, PathBuf};

use tandem_proto::transport::{ClientSecurity, Token, TokenError};

use crate::exit::Exit;
use crate::local::{ClusterFolder, ClusterFolderError};

/// What was named by flags, variables or files.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// `host:port` of the coordinator.
    pub address: Option<String>,
    /// File with the cluster's token.
    pub token_file: Option<PathBuf>,
    /// Certificates that may have signed the cluster's.
    pub tls_ca: Option<PathBuf>,
}

/// A cluster to connect to.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port` of the coordinator.
    pub address: String,
    /// What is shown and asked for.
    pub security: ClientSecurity,
}

/// Why it is not known which cluster is meant.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// None was named, and no local one runs.
    #[error("no cluster is running: {}", .0.display())]
    NoCluster(PathBuf),
    /// The local cluster cannot be looked for.
    #[error(transparent)]
    Folder(#[from] ClusterFolderError),
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The certificates cannot be read.
    #[error("cannot read the certificates: {}: {source}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Named {
    /// What the variables `TANDEM_ADDRESS`, `TANDEM_TOKEN_FILE` and `TANDEM_TLS_CA` name, unless they are empty.
    pub fn by_variables() -> Self {
        let path = |name| std::env::var_os(name).filter(|text| !text.is_empty()).map(PathBuf::from);
        Self {
            address: std::env::var("TANDEM_ADDRESS").ok().filter(|text| !text.is_empty()),
            token_file: path("TANDEM_TOKEN_FILE"),
            tls_ca: path("TANDEM_TLS_CA"),
        }
    }

    /// The cluster, which is the one in the user's `folder` unless another is named: then there may be no folder.
    ///
    /// # Errors
    /// When there is none, or a file cannot be read.
    pub fn target(self, folder: Result<ClusterFolder, ClusterFolderError>) -> Result<Target, TargetError> {
        let Self { address, token_file, tls_ca } = self;
        let (address, token_file) = match (address, folder) {
            (Some(address), Err(ClusterFolderError::NoHome)) => (address, token_file),
            (address, folder) => {
                let folder = folder?;
                let local = folder.running()?.map(|record| record.address);
                let Some(address) = address.or_else(|| local.clone()) else {
                    return Err(TargetError::NoCluster(folder.root().to_owned()));
                };
                let local_token = (local.as_ref() == Some(&address)).then(|| folder.token_file());
                (address, token_file.or(local_token))
            }
        };
        let token = token_file.map(|path| Token::read(&path)).transpose()?;
        let ca_pem = tls_ca.map(|path| certificates(&path)).transpose()?;
        Ok(Target { address, security: ClientSecurity { token, ca_pem } })
    }
}

fn certificates(path: &Path) -> Result<Vec<u8>, TargetError> {
    std::fs::read(path).map_err(|source| TargetError::Authority { path: path.to_owned(), source })
}

impl TargetError {
    /// What a command that meets it exits with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoCluster(_) => Exit::Unreachable,
            Self::Folder(ClusterFolderError::Io { .. } | ClusterFolderError::Record { .. }) => Exit::Failed,
            Self::Folder(ClusterFolderError::NoHome) | Self::Token(_) | Self::Authority { .. } => Exit::Usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_the_local_cluster_is_shown_to_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let folder = ClusterFolder::at(temp.path().to_owned());
        let token = Token::generate();
        token.write(&folder.token_file()).unwrap();
        let named = |address: Option<&str>| Named { address: address.map(str::to_owned), ..Named::default() };
        let error = named(None).target(Ok(folder.clone())).unwrap_err();
        assert_eq!((error.exit(), error.to_string().contains("no cluster is running")), (Exit::Unreachable, true));

        let _lock = folder.occupy().unwrap();
        let record = crate::local::ClusterRecord { address: "127.0.0.1:7".to_owned(), supervisor_pid: 1 };
        folder.write_record(&record).unwrap();
        for (address, shown) in [(None, true), (Some("127.0.0.1:7"), true), (Some("127.0.0.1:8"), false)] {
            let target = named(address).target(Ok(folder.clone())).unwrap();
            assert_eq!(target.security.token.is_some(), shown, "{address:?}");
        }
    }

    #[test]
    fn only_a_cluster_that_is_not_named_needs_a_home() {
        let homeless = |address: Option<&str>| {
            let named = Named { address: address.map(str::to_owned), ..Named::default() };
            named.target(Err(ClusterFolderError::NoHome))
        };
        assert_eq!(homeless(Some("127.0.0.1:7")).unwrap().address, "127.0.0.1:7");
        assert_eq!(homeless(None).unwrap_err().exit(), Exit::Usage);
    }
}
