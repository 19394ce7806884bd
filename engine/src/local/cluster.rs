//! A local cluster as its owner sees it: start, connect, wait, scale, stop. The processes themselves are the
//! [`Supervisor`]'s, which this handle asks.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tandem_client::{Client, ClientError, ClientSecurity};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::children::Commands;
use super::folder::{FolderError, StateFolder};
use super::listeners::Listeners;
use super::shape::ClusterShape;
use super::supervisor::{Event, Supervisor};

/// How often the coordinator is asked whether the workers are there.
const READY_POLL: Duration = Duration::from_millis(3);
/// How long a start may take.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a local cluster cannot be started or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClusterFault {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("cannot start {process}: {source}")]
    Spawn { process: String, source: io::Error },
    #[error("cannot open the ports of the cluster: {0}")]
    Ports(io::Error),
    #[error("{process} keeps failing: {reason} (log: {})", log.display())]
    KeepsFailing { process: String, reason: String, log: PathBuf },
    #[error("the workers are not ready after {} s", READY_TIMEOUT.as_secs())]
    NotReady,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the cluster is being stopped")]
    Stopping,
}

/// How long jobs live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobSpan {
    /// Those that run go on when a cluster is started over the same folder again.
    Folder,
    /// They end with the cluster.
    Cluster,
}

/// A local cluster supervised by this process. Dropping it kills the cluster's processes.
pub(crate) struct LocalCluster {
    address: String,
    security: ClientSecurity,
    requests: mpsc::UnboundedSender<Event>,
    task: JoinHandle<()>,
}

impl LocalCluster {
    /// Starts the processes of a cluster in `folder` and returns at once; they come up on their own. What jobs do
    /// when it is stopped is up to `span`.
    pub(crate) fn start(folder: &StateFolder, shape: ClusterShape, span: JobSpan) -> Result<Self, ClusterFault> {
        let security = ClientSecurity { token: Some(folder.token()?), ca_pem: None };
        let listeners = Listeners::open().map_err(ClusterFault::Ports)?;
        let address = listeners.grpc_address().map_err(ClusterFault::Ports)?.to_string();
        let workers = shape.workers;
        let commands = Commands::new(folder.clone(), address.clone(), shape, span)
            .map_err(|source| ClusterFault::Spawn { process: "the cluster".to_owned(), source })?;
        let (requests, events) = mpsc::unbounded_channel();
        let supervisor = Supervisor::start(commands, listeners, workers, requests.clone())?;
        let task = tokio::spawn(supervisor.run(events));
        Ok(Self { address, security, requests, task })
    }

    /// The coordinator's address.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A connection to the coordinator. Waits for it if it is not up yet.
    pub(crate) async fn connect(&self) -> Result<Client, ClusterFault> {
        Ok(Client::connect(&self.address, self.security.clone()).await?)
    }

    /// Returns when `workers` workers are ready, or it is clear that they will not be.
    pub(crate) async fn ready(&self, workers: u32) -> Result<(), ClusterFault> {
        let deadline = Instant::now() + READY_TIMEOUT;
        let client = tokio::select! {
            client = self.connect() => client?,
            fault = self.fault() => return Err(fault),
        };
        while Instant::now() < deadline {
            let status = tokio::select! {
                status = client.cluster() => status,
                fault = self.fault() => return Err(fault),
            };
            match status {
                Ok(status) if status.nodes_ready >= workers => return Ok(()),
                // The coordinator restarts; what stops it from coming up is reported as a fault.
                Ok(_) | Err(ClientError::Unreachable { .. }) => tokio::time::sleep(READY_POLL).await,
                Err(error) => return Err(error.into()),
            }
        }
        Err(ClusterFault::NotReady)
    }

    /// Waits until it is clear that a process cannot be started.
    pub(crate) async fn fault(&self) -> ClusterFault {
        let (answer, fault) = oneshot::channel();
        let _ = self.requests.send(Event::TellFault(answer));
        fault.await.unwrap_or(ClusterFault::Stopping)
    }

    /// Makes the number of workers `workers`. Returns when the new ones are ready or the surplus has drained and left.
    pub(crate) async fn scale(&self, workers: u32) -> Result<(), ClusterFault> {
        let (answer, surplus) = oneshot::channel();
        let _ = self.requests.send(Event::Scale { workers, answer });
        let (surplus, gone) = surplus.await.map_err(|_| ClusterFault::Stopping)??;
        if surplus.is_empty() {
            return self.ready(workers).await;
        }
        let client = self.connect().await?;
        for name in &surplus {
            match client.drain(name).await {
                // It is not there any more, which is what is wanted.
                Ok(_) | Err(ClientError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        gone.await.map_err(|_| ClusterFault::Stopping)
    }

    /// Process ids by name, the supervisor's own excluded.
    pub(crate) async fn processes(&self) -> BTreeMap<String, u32> {
        let (answer, processes) = oneshot::channel();
        let _ = self.requests.send(Event::Processes(answer));
        processes.await.unwrap_or_default()
    }

    /// Ends every process and returns when all are gone.
    pub(crate) async fn stop(mut self) {
        let _ = self.requests.send(Event::Stop);
        // Ends when the last child has; a panic in it would have been printed.
        let _ = (&mut self.task).await;
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        // Children without a supervisor are killed by their watchers.
        self.task.abort();
    }
}
