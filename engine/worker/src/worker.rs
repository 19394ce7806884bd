//! One worker process: opens everything, runs until told to leave, and leaves nothing behind.
//!
//! The runtime that calls this carries gRPC, heartbeats and object storage; tasks have threads of their own
//! ([`crate::runner`]).

use std::net::SocketAddr;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use tandem_exec::task::TaskEnvironment;
use tandem_proto::transport::{check_bind, server};
use tandem_proto::{VERSION, WorkerId, v1};
use tandem_store::{ShuffleStore, SpillDir, StoreConfig};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info, info_span};

use crate::actors::{Actors, Alone, Queries, StatePort, Statements};
use crate::attach::LinkTarget;
use crate::config::WorkerConfig;
use crate::control::Control;
use crate::coordinator::CoordinatorCalls;
use crate::error::WorkerError;
use crate::fetch::GrpcFetch;
use crate::metrics::Metrics;
use crate::runner::{Runner, TaskThreads};
use crate::stages::StageCache;
use crate::state::WorkerState;
use crate::status::{Duties, StatusBoard};
use crate::{data_server, http, memory};

/// Ends of attempts that wait for the control task.
const ENDS_CAPACITY: usize = 256;

/// A worker with its ports open, not yet known to the coordinator.
pub struct Worker {
    id: WorkerId,
    config: WorkerConfig,
    data: TcpListener,
    http: TcpListener,
    addresses: Addresses,
    resources: Resources,
}

/// Where a worker listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The data port.
    pub data: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
}

/// Memory and disk. The folder of DataFusion's spills comes last: it is deleted after all that has files in it.
struct Resources {
    store: Arc<ShuffleStore>,
    runtime: Arc<RuntimeEnv>,
    pool: Arc<dyn MemoryPool>,
    spill_dir: SpillDir,
}

impl Worker {
    /// Opens ports, memory and the spill folder.
    ///
    /// # Errors
    /// Any [`WorkerError`] of a wrong configuration or a machine that refuses it.
    pub async fn bind(config: WorkerConfig) -> Result<Self, WorkerError> {
        config.check()?;
        // Not used before `run`; a wrong certificate should be told now.
        server(&config.server_security)?;
        let data = listen(config.listen, &config).await?;
        let http = listen(config.http_listen, &config).await?;
        let addresses = Addresses { data: bound(&data, config.listen)?, http: bound(&http, config.http_listen)? };
        let id = WorkerId(rand::random());
        let resources = Resources::open(&config)?;
        Ok(Self { id, config, data, http, addresses, resources })
    }

    /// The id of this process, drawn when it was bound.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until the coordinator says to stop, or until `shutdown` was given and the drain that it starts is over. Dropping
    /// the future stops everything at once.
    ///
    /// # Errors
    /// The coordinator will not have this worker, or a listener broke.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        let span = info_span!("worker", worker = %self.id, worker_name = self.config.name);
        self.serve(shutdown).instrument(span).await
    }

    async fn serve(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        info!(data = %self.addresses.data, http = %self.addresses.http, slots = self.config.slots, "worker started");
        let (channel, calls) = watch::channel(None);
        let control = self.control(CoordinatorCalls::new(calls))?;
        let runtime = control.actors.runtime.clone();
        let Self { id, config, data, http, resources, .. } = self;
        let state = StatePort { worker: id, worker_name: config.name.clone(), runtime: runtime.clone() };
        let board = Arc::clone(&control.board);
        let target = LinkTarget { coordinator: config.coordinator, security: config.client_security, channel };
        let security = config.server_security;
        let ports = (runtime.peer_port(), runtime.driver_port(), state);
        let serve_data = data_server::serve(data, security.clone(), Arc::clone(&board), ports);
        let serve_http = http::serve(http, security, board);
        let outcome = tokio::select! {
            outcome = control.run(target, shutdown) => outcome,
            outcome = serve_data => outcome,
            outcome = serve_http => outcome,
        };
        drop(resources);
        info!("worker stopped");
        outcome
    }

    /// The control task with all it commands.
    fn control(&self, calls: CoordinatorCalls) -> Result<Control, WorkerError> {
        let Self { id, config, resources, .. } = self;
        let io = Handle::current();
        let metrics = Arc::new(Metrics::new(config.slots, config.pool_bytes()));
        let threads = TaskThreads::start(config.slots)?;
        let (runtime, store) = (Arc::clone(&resources.runtime), Arc::clone(&resources.store));
        let alone = Alone::new(runtime, io.clone(), threads.handle().clone(), config.slots as usize);
        let queries = Queries::new(calls.clone(), config.client_security.clone(), *id, store);
        let statements = Statements::new(alone, queries);
        let address = config.advertised(self.addresses.data);
        let actors = Actors::start(*id, config, address.clone(), resources.spill_dir.path(), &calls, statements)?;
        let stages = StageCache::new(*id, calls.clone(), Arc::clone(&resources.runtime), io.clone());
        let stages = Arc::new(stages);
        let environment = TaskEnvironment {
            worker: *id,
            store: Arc::clone(&resources.store),
            remote: Arc::new(GrpcFetch::new(config.client_security.clone(), io, &address)),
            functions: Arc::clone(&actors.functions) as _,
        };
        let (ends_sender, ends) = mpsc::channel(ENDS_CAPACITY);
        let runner = Runner::new(
            threads,
            environment,
            Arc::clone(&stages),
            (actors.drivers.clone(), Arc::clone(&actors.functions), actors.logs.clone()),
            Arc::clone(&metrics),
            ends_sender,
        );
        let (duties, watched) = watch::channel(Duties::default());
        let board = StatusBoard {
            duties: watched,
            pool: Arc::clone(&resources.pool),
            store: Arc::clone(&resources.store),
            runtime: actors.runtime.clone(),
            metrics,
        };
        Ok(Control {
            state: WorkerState::new(self.identity()),
            runner,
            actors,
            coordinator: calls,
            ends,
            stages,
            board: Arc::new(board),
            duties,
            drain_timeout: config.drain_timeout,
        })
    }

    fn identity(&self) -> v1::Register {
        v1::Register {
            worker: self.id.0,
            name: self.config.name.clone(),
            version: VERSION.to_owned(),
            pid: std::process::id(),
            data_address: self.config.advertised(self.addresses.data),
            http_address: self.config.advertised(self.addresses.http),
            slots: self.config.slots,
            memory_bytes: self.config.memory_limit_bytes,
            labels: self.config.labels.clone().into_iter().collect(),
            resources: Some(self.config.all_resources()),
            ..v1::Register::default()
        }
    }
}

impl Resources {
    fn open(config: &WorkerConfig) -> Result<Self, WorkerError> {
        let spill_dir = SpillDir::open(&config.spill_dir)?;
        let pool = memory::pool(config.pool_bytes());
        let runtime = memory::runtime(&pool, config.memory_limit_bytes, spill_dir.path().to_owned())?;
        // Half of the pool: a store that took it all would leave tasks nothing to read its output with.
        let store = StoreConfig::new(&config.spill_dir, config.pool_bytes() / 2);
        let store = ShuffleStore::new(store, Arc::clone(&pool))?;
        Ok(Self { store, runtime, pool, spill_dir })
    }
}

async fn listen(address: SocketAddr, config: &WorkerConfig) -> Result<TcpListener, WorkerError> {
    check_bind(address, &config.server_security)?;
    TcpListener::bind(address).await.map_err(|source| WorkerError::Listen { address, source })
}

fn bound(listener: &TcpListener, address: SocketAddr) -> Result<SocketAddr, WorkerError> {
    listener.local_addr().map_err(|source| WorkerError::Listen { address, source })
}
