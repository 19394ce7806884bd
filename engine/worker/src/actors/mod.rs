//! The actor runtime of this worker: what it needs from outside, and how its drivers and functions look to stages.
//!
//! ```text
//!   control ──events──▶ RuntimeHandle ──▶ (desk, node, executors)
//!      ▲                                          │
//!      └──news── WorkerSide ◀─────────────────────┘ ──▶ packages, logs, names ──▶ coordinator
//! ```

mod detach;
mod driver;
mod functions;
mod inspect;
mod log_buffer;
mod logs;
mod names;
mod outside;
mod packages;
mod sql;
mod submit;
mod tables;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tandem_actor_protocol::resources::GPUS;
use tandem_arena::ArenaConfig;
use tandem_node::{Node, NodeConfig};
use tandem_proto::WorkerId;
use tandem_runtime::{News, Runtime, RuntimeConfig, RuntimeHandle, divisible_cgroup, half_of_free};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

use crate::config::WorkerConfig;
use crate::coordinator::CoordinatorCalls;
use crate::error::WorkerError;
use outside::WorkerSide;
use packages::Packages;

pub(crate) use driver::Drivers;
pub(crate) use functions::ExecutorFunctions;
pub(crate) use inspect::StatePort;
pub(crate) use logs::Logs;
pub(crate) use names::ActorQuestion;
pub(crate) use sql::{Alone, Queries, Statements};

const MIB: u64 = 1 << 20;

/// The runtime and what goes with it.
pub(crate) struct Actors {
    /// The way to it.
    pub(crate) runtime: RuntimeHandle,
    /// What its node wants others to know.
    pub(crate) news: UnboundedReceiver<News>,
    /// How drivers are run.
    pub(crate) drivers: Drivers,
    /// How steps that are functions are run.
    pub(crate) functions: Arc<ExecutorFunctions>,
    /// What is said about jobs.
    pub(crate) logs: Logs,
    /// Ships it.
    _shipping: AbortOnDropHandle<()>,
}

impl Actors {
    /// Starts the runtime, in folders of its own in `folder`. Others reach its node at `address`.
    ///
    /// # Errors
    /// When these cannot be made.
    pub(crate) fn start(
        worker: WorkerId,
        config: &WorkerConfig,
        address: String,
        folder: &Path,
        coordinator: &CoordinatorCalls,
        statements: Statements,
    ) -> Result<Self, WorkerError> {
        let (sender, news) = unbounded_channel();
        let logs = Logs::new(worker, config.name.clone());
        let side = Arc::new(WorkerSide {
            coordinator: coordinator.clone(),
            packages: Packages::new(folder, coordinator.clone()),
            logs: logs.clone(),
            statements,
            environment: config.environment.clone(),
            news: sender,
            programs: Mutex::new(HashMap::new()),
        });
        let spill_limit_bytes = config.spill_limit_bytes.map_or_else(|| half_of_free(folder), Ok);
        let spill_limit_bytes = spill_limit_bytes.map_err(WorkerError::Executors)?;
        let node = Node::new(NodeConfig { address, spill_limit_bytes, ..node_config(worker, config) });
        let runtime = Runtime::start(runtime_config(worker, config, folder), side, node);
        let runtime = runtime.map_err(WorkerError::Executors)?;
        let shipping = AbortOnDropHandle::new(tokio::spawn(logs.clone().ship(coordinator.clone())));
        let drivers = Drivers::new(runtime.clone(), logs.clone());
        let functions = Arc::new(ExecutorFunctions::new(runtime.clone()));
        Ok(Self { runtime, news, drivers, functions, logs, _shipping: shipping })
    }
}

fn runtime_config(worker: WorkerId, config: &WorkerConfig, folder: &Path) -> RuntimeConfig {
    let share = config.memory_limit_bytes / u64::from(config.slots.max(1));
    RuntimeConfig {
        security: config.client_security.clone(),
        environment: config.environment.clone(),
        spill_dir: Some(folder.join("objects")),
        slot_memory_bytes: share.max(config.memory_limit_bytes.min(1024 * MIB)),
        cgroup: config.own_process.then(own_cgroup).flatten(),
        arena_bytes: arena_bytes(config),
        adopt_orphans: config.own_process,
        ..RuntimeConfig::new(worker, config.name.clone(), folder.join("executors"))
    }
}

/// The cgroup of this process, if its executors can have some of their own in it.
fn own_cgroup() -> Option<PathBuf> {
    let found = divisible_cgroup();
    found.inspect_err(|reason| info!(%reason, "the memory of executors is watched, and not held by cgroups")).ok()
}

/// What the objects of one job may take in memory.
fn arena_bytes(config: &WorkerConfig) -> u64 {
    config.memory_limit_bytes / 2
}

fn node_config(worker: WorkerId, config: &WorkerConfig) -> NodeConfig {
    let quota_bytes = arena_bytes(config);
    let extent_bytes = (quota_bytes / 32).clamp(2 * MIB, 64 * MIB);
    let gpus = config.resources.get(GPUS).map_or(0, |milli| milli / 1_000);
    NodeConfig {
        gpus: u32::try_from(gpus).unwrap_or(u32::MAX),
        arena: ArenaConfig { extent_bytes, quota_bytes, ..ArenaConfig::default() },
        ..NodeConfig::new(worker, config.name.clone())
    }
}
