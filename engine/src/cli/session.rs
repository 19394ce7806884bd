//! What commands of a client need: the settings and the way to the cluster.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tandem_client::{Client, ClusterFolder, ClusterFolderError, Named, Target, TargetError};

use super::{Exit, Failure};
use crate::config::Settings;
use crate::local::{ClusterFault, ClusterShape, FolderError, default_memory_bytes};
use crate::output::OutputFormat;
use crate::output::units::format_duration;

/// One run of the command line.
pub(super) struct Session {
    pub(super) settings: Settings,
}

impl Session {
    pub(super) fn format(&self) -> OutputFormat {
        self.settings.output_format()
    }

    /// Connects to the coordinator that `--address` names, or else to the local cluster's.
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let Target { address, security } = self.target()?;
        Ok(Client::connect(&address, security).await?)
    }

    fn target(&self) -> Result<Target, Failure> {
        let named = Named {
            address: self.settings.address().map(ToOwned::to_owned),
            token_file: self.settings.token_file().map(ToOwned::to_owned),
            tls_ca: self.settings.tls_ca().map(ToOwned::to_owned),
        };
        Ok(named.target(ClusterFolder::of_user())?)
    }

    /// Gives up on `command` after `--timeout`.
    pub(super) async fn in_time<T>(&self, command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match self.settings.timeout() {
            None => command.await,
            Some(limit) => tokio::time::timeout(limit, command).await.unwrap_or_else(|_| Err(timed_out(limit))),
        }
    }

    /// The size of a local cluster: as given, else as set.
    pub(super) fn shape(&self, workers: Option<u32>, cpus: Option<u32>, memory_bytes: Option<u64>) -> ClusterShape {
        let workers = workers.unwrap_or_else(|| self.settings.workers());
        let memory_bytes =
            memory_bytes.or_else(|| self.settings.memory_bytes()).unwrap_or_else(|| default_memory_bytes(workers));
        ClusterShape {
            workers,
            cpus: cpus.unwrap_or_else(|| self.settings.cpus()),
            memory_bytes,
            resources: BTreeMap::new(),
            environment: BTreeMap::new(),
        }
    }
}

fn timed_out(limit: Duration) -> Failure {
    Failure::new(Exit::TimedOut, format!("not done after {}", format_duration(limit)))
}

impl From<FolderError> for Failure {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Foreign(_) => Self::new(Exit::Denied, error.to_string()),
            FolderError::Found(ClusterFolderError::NoHome) => Self::usage(error.to_string()),
            FolderError::Found(_) | FolderError::Io { .. } | FolderError::Token(_) => Self::failed(error.to_string()),
        }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        let failure = Self::new(error.exit(), error.to_string());
        match error {
            TargetError::NoCluster(_) => {
                failure.with_help("start one with `tandem cluster up`, or name one with --address")
            }
            TargetError::Folder(_) | TargetError::Token(_) | TargetError::Authority { .. } => failure,
        }
    }
}

impl From<ClusterFault> for Failure {
    fn from(fault: ClusterFault) -> Self {
        match fault {
            ClusterFault::Folder(error) => error.into(),
            ClusterFault::Client(error) => error.into(),
            ClusterFault::NotReady => Self::new(Exit::TimedOut, fault.to_string()),
            ClusterFault::Spawn { .. }
            | ClusterFault::Ports(_)
            | ClusterFault::KeepsFailing { .. }
            | ClusterFault::Stopping => Self::failed(fault.to_string()),
        }
    }
}
