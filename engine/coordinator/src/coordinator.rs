//! A coordinator process from start to end: bind everything, restore, serve, stop.
//!
//! ```text
//!   bind: token, TLS, ports ─► folder locked, term raised, jobs restored ─► addresses known ─► serve … ─► stopped
//! ```
//! Invariant: nothing is served before the journal is restored, and nothing is restored when a port is taken.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tandem_jobs::planned::PlannedJob;
use tandem_proto::Term;
use tandem_proto::transport::{
    self, ClientSecurity, HttpPort, RequireToken, ServerSecurity, TlsIdentity, Token, health_router,
};
use tandem_proto::v1::cluster_service_server::ClusterServiceServer;
use tandem_proto::v1::job_service_server::JobServiceServer;
use tandem_proto::v1::package_service_server::PackageServiceServer;
use tandem_proto::v1::state_service_server::StateServiceServer;
use tandem_scheduler::{Action, Cluster, RestoredCommit, RestoredJob};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tracing::info;

use crate::clock::Clock;
use crate::config::{CoordinatorConfig, TlsFiles};
use crate::error::CoordinatorError;
use crate::http::Port;
use crate::journal::{Commit, Journal, JournalError, JournaledJob, Restored};
use crate::logs::LogStore;
use crate::packages::{Content, PackageStore};
use crate::server::{
    ClusterHandle, ClusterRpc, Identity, JobEntry, JobRpc, JobTable, Logs, Owner, PackageRpc, PackageStores, Planner,
    Relay, StateRpc, Submitter,
};

/// A worker that comes back reports all output it holds in one message.
const MAX_REPORT_BYTES: usize = 64 << 20;
/// How long open calls may take to end when the coordinator stops.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// How long it may take before that to publish, remove and report what is left of jobs that ended.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// A coordinator whose ports are bound and whose state is restored.
pub struct Coordinator {
    grpc: TcpListener,
    http: HttpPort,
    addresses: Addresses,
    security: ServerSecurity,
    workers: ClientSecurity,
    server: Server,
    planner: Planner,
    journal: Arc<Journal>,
    packages: PackageStores,
    logs: Arc<LogStore>,
    clock: Clock,
    term: Term,
    cluster_name: String,
    environment: BTreeMap<String, String>,
    stop_jobs: bool,
    owner: Owner,
    handle: ClusterHandle,
    restored: Vec<Action>,
}

/// Where a coordinator can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Clients and workers.
    pub grpc: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// Binds and serves until `shutdown`.
///
/// # Errors
/// See [`Coordinator::bind`] and [`Coordinator::serve`].
pub async fn run(config: CoordinatorConfig, shutdown: impl Future<Output = ()>) -> Result<(), CoordinatorError> {
    Coordinator::bind(config).await?.serve(shutdown).await
}

impl Coordinator {
    /// Takes ports and data folder and restores what the journal holds.
    ///
    /// # Errors
    /// Nothing is left behind when an address, token, certificate or the journal cannot be used.
    pub async fn bind(config: CoordinatorConfig) -> Result<Self, CoordinatorError> {
        let security = Security::read(&config)?;
        security.check(Addresses { grpc: config.listen, http: config.http })?;
        let (grpc, http) = (listen(config.listen).await?, listen(config.http).await?);
        Self::open(config, security, grpc, http).await
    }

    /// The same over sockets that listen already; the addresses in `config` are not looked at.
    ///
    /// # Errors
    /// Like [`Self::bind`].
    pub async fn over(
        config: CoordinatorConfig,
        grpc: TcpListener,
        http: TcpListener,
    ) -> Result<Self, CoordinatorError> {
        let security = Security::read(&config)?;
        security.check(Addresses { grpc: bound(&grpc, config.listen)?, http: bound(&http, config.http)? })?;
        Self::open(config, security, grpc, http).await
    }

    async fn open(
        config: CoordinatorConfig,
        Security { clients, workers }: Security,
        grpc: TcpListener,
        http: TcpListener,
    ) -> Result<Self, CoordinatorError> {
        let server = transport::server(&clients)?;
        let addresses = Addresses { grpc: bound(&grpc, config.listen)?, http: bound(&http, config.http)? };
        let http = HttpPort::new(http, clients.tls.as_ref())?;
        let planner = Planner::start(config.expected_slots).map_err(CoordinatorError::Threads)?;
        let data_dir = config.data_dir.clone();
        let (journal, restored) = tokio::task::spawn_blocking(move || Journal::open(&data_dir))
            .await
            .map_err(|error| CoordinatorError::Owner(error.to_string()))??;
        // After the journal, which has taken the folder.
        let store = |name, content| {
            let path = config.data_dir.join(name);
            let opened = PackageStore::open(path.clone(), content, config.packages);
            opened.map(Arc::new).map_err(|source| CoordinatorError::Folder { path, source })
        };
        let packages = store("packages", Content::Packages)?;
        let packages = PackageStores { packages, attached: store("attached", Content::Attached)? };
        let logs_dir = config.data_dir.join("logs");
        let (journal, clock, term) = (Arc::new(journal), Clock::start(), restored.term);
        let (cluster, jobs, actions) = restore(&config, clock, restored)?;
        let logs = LogStore::open(logs_dir.clone(), config.logs, |job| jobs.get(job).is_some())
            .map_err(|source| CoordinatorError::Folder { path: logs_dir, source })?;
        let (logs, cluster_name, environment) = (Arc::new(logs), config.cluster_name, config.environment);
        let kept = (journal.clone(), logs.clone());
        let (owner, handle) = Owner::new(cluster, jobs, kept, clock, term, cluster_name.clone());
        Ok(Self {
            grpc,
            http,
            addresses,
            security: clients,
            workers,
            server,
            planner,
            journal,
            packages,
            logs,
            clock,
            term,
            cluster_name,
            environment,
            stop_jobs: config.stop_jobs,
            owner,
            handle,
            restored: actions,
        })
    }

    /// Where it listens; with port 0 in the configuration, the ports that were free.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The term of this reign.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Serves until `shutdown`. Jobs that run go on at the workers, unless they are to be stopped: a coordinator over the same
    /// folder takes them over. What jobs that ended have staged is removed first.
    ///
    /// # Errors
    /// A listener or the cluster's owner broke. Everything is stopped then, too.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), CoordinatorError> {
        let (journal, addresses, term) = (self.journal.clone(), self.addresses, self.term);
        let (handle, stop_jobs) = (self.handle.clone(), self.stop_jobs);
        let stopping = CancellationToken::new();
        // Whatever ends this call, its tasks end too.
        let _stop = stopping.clone().drop_guard();
        let tracker = TaskTracker::new();
        let mut parts = self.start(&stopping, &tracker);
        info!(address = %addresses.grpc, http = %addresses.http, %term, "the coordinator serves");
        let early = tokio::select! {
            () = shutdown => {
                if tokio::time::timeout(SETTLE_WITHIN, handle.settle(stop_jobs)).await.is_err() {
                    tracing::warn!("something that jobs have staged is left over");
                }
                None
            }
            ended = parts.join_next() => ended,
        };
        stopping.cancel();
        tracker.close();
        let rest = async {
            tracker.wait().await;
            while parts.join_next().await.is_some() {}
        };
        if tokio::time::timeout(STOP_WITHIN, rest).await.is_err() {
            info!("calls that were still open are cut off");
            parts.shutdown().await;
        }
        if let Err(error) = journal.flush().await {
            tracing::warn!(%error, "the last entries of the journal could not be written");
        }
        match early {
            None => Ok(()),
            Some(Ok(ended)) => ended.and(Err(CoordinatorError::Owner("a part ended by itself".to_owned()))),
            Some(Err(error)) => Err(CoordinatorError::Owner(error.to_string())),
        }
    }

    /// Spawns the owner and both listeners.
    fn start(self, stopping: &CancellationToken, tracker: &TaskTracker) -> JoinSet<Result<(), CoordinatorError>> {
        let port = Port { handle: self.handle.clone(), clock: self.clock };
        let router = health_router(port, self.security.token.clone());
        let http = self.http.serve(router, stopping.clone().cancelled_owned());
        let logs = Logs { store: self.logs, handle: self.handle.clone(), stopping: stopping.clone() };
        let cluster = ClusterRpc {
            handle: self.handle.clone(),
            journal: self.journal.clone(),
            term: self.term,
            logs: logs.clone(),
            environment: self.environment,
            tracker: tracker.clone(),
            stopping: stopping.clone(),
        };
        let packages = PackageRpc { stores: self.packages.clone(), handle: self.handle.clone() };
        let planner = (self.planner, self.packages);
        let submitter = Submitter::new(planner, (self.journal.clone(), self.clock), self.handle.clone(), self.term);
        let relay = Arc::new(Relay::new(self.workers));
        let state = StateRpc { handle: self.handle.clone(), relay: Arc::clone(&relay) };
        let jobs = JobRpc {
            handle: self.handle,
            submitter: Arc::new(submitter),
            journal: self.journal,
            relay,
            logs,
            identity: Identity {
                cluster_name: self.cluster_name,
                term: self.term,
                started: self.clock.started(),
                http: self.addresses.http,
            },
            tracker: tracker.clone(),
            stopping: stopping.clone(),
        };
        let token = RequireToken::new(self.security.token);
        let cluster = ClusterServiceServer::new(cluster).max_decoding_message_size(MAX_REPORT_BYTES);
        let grpc = self
            .server
            .layer(InterceptorLayer::new(token))
            .add_service(cluster)
            .add_service(JobServiceServer::new(jobs))
            .add_service(PackageServiceServer::new(packages))
            .add_service(StateServiceServer::new(state))
            .serve_with_incoming_shutdown(transport::incoming(self.grpc), stopping.clone().cancelled_owned());
        let owner = self.owner.run(self.restored, stopping.clone());
        let mut parts = JoinSet::new();
        parts.spawn(async move {
            owner.await;
            Ok(())
        });
        parts.spawn(async move { http.await.map_err(|error| broke("HTTP", &error)) });
        parts.spawn(async move { grpc.await.map_err(|error| broke("gRPC", &error)) });
        parts
    }
}

fn broke(listener: &'static str, error: &dyn std::error::Error) -> CoordinatorError {
    CoordinatorError::Serve { listener, reason: error.to_string() }
}

/// What callers must show, and what this process shows to workers.
struct Security {
    clients: ServerSecurity,
    workers: ClientSecurity,
}

impl Security {
    fn read(config: &CoordinatorConfig) -> Result<Self, CoordinatorError> {
        let token_file = config.token_file.clone().unwrap_or_else(|| config.data_dir.join("token"));
        let token = Token::read(&token_file)?;
        let tls = config.tls.as_ref().map(|TlsFiles { cert, key, .. }| TlsIdentity::read(cert, key)).transpose()?;
        let ca_pem = config.tls.as_ref().map(read_authority).transpose()?;
        let workers = ClientSecurity { token: Some(token.clone()), ca_pem };
        Ok(Self { clients: ServerSecurity { token, tls }, workers })
    }

    fn check(&self, addresses: Addresses) -> Result<(), CoordinatorError> {
        transport::check_bind(addresses.grpc, &self.clients)?;
        transport::check_bind(addresses.http, &self.clients)?;
        Ok(())
    }
}

fn read_authority(files: &TlsFiles) -> Result<Vec<u8>, CoordinatorError> {
    let path = files.ca.as_ref().unwrap_or(&files.cert);
    std::fs::read(path).map_err(|source| CoordinatorError::Authority { path: path.clone(), source })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CoordinatorError> {
    TcpListener::bind(address).await.map_err(|source| CoordinatorError::Listen { address, source })
}

fn bound(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, CoordinatorError> {
    listener.local_addr().map_err(|source| CoordinatorError::Listen { address, source })
}

/// The cluster as the journal knows it, and what is to be done at once.
fn restore(
    config: &CoordinatorConfig,
    clock: Clock,
    restored: Restored,
) -> Result<(Cluster, JobTable, Vec<Action>), CoordinatorError> {
    let Restored { term, jobs: journaled, facts } = restored;
    let mut table = JobTable::default();
    let mut jobs = Vec::new();
    for JournaledJob { accepted, commit, report } in journaled {
        let planned =
            accepted.work.map(|work| decode_planned(config, work.planned.as_ref(), work.secrets)).transpose()?;
        let mut entry = JobEntry::new(accepted.submission, &accepted.shape, planned.map(Arc::new));
        entry.report = report;
        table.insert(accepted.job, entry);
        jobs.push(RestoredJob {
            job: accepted.job,
            plan: accepted.shape,
            accepted: accepted.accepted,
            accepted_term: accepted.term,
            commit: match commit {
                None => RestoredCommit::None,
                Some(Commit::Intended(files)) => RestoredCommit::Intended(files),
                Some(Commit::Done) => RestoredCommit::Done,
            },
        });
    }
    let (cluster, actions) = Cluster::restore(config.cluster.clone(), term, clock.now(), jobs, facts);
    Ok((cluster, table, actions))
}

fn decode_planned(
    config: &CoordinatorConfig,
    data: &[u8],
    secrets: BTreeMap<String, String>,
) -> Result<PlannedJob, JournalError> {
    let planned: PlannedJob = postcard::from_bytes(data)
        .map_err(|error| JournalError::damaged(&config.data_dir, format!("a planned job cannot be read: {error}")))?;
    Ok(PlannedJob { secrets, ..planned })
}
