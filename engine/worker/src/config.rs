//! What a worker is started with.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tandem_proto::resources::{CPUS, SLOT_MILLI};
use tandem_proto::transport::{ClientSecurity, ServerSecurity};
use tandem_proto::v1;

use crate::error::WorkerError;

/// The least memory a worker can do anything useful with.
pub const MIN_MEMORY_BYTES: u64 = 64 << 20;

/// Everything that one worker process is told at start.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// What people call it. Two workers of a cluster should not share it.
    pub name: String,
    /// The coordinator's gRPC address, `host:port`.
    pub coordinator: String,
    /// What this worker shows to the coordinator and to its peers.
    pub client_security: ClientSecurity,
    /// What both listeners ask for and show.
    pub server_security: ServerSecurity,
    /// Where the data port listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// The host by which others reach this worker. Default: the address it listens on.
    pub advertised_host: Option<String>,
    /// How many tasks the coordinator may run here at once, and how many threads run them.
    pub slots: u32,
    /// Memory of the whole process. Three quarters are given out to queries and stored output; the rest is for what
    /// nobody counts.
    pub memory_limit_bytes: u64,
    /// The folder for what does not fit in memory. May be shared by workers: each makes a folder of its own in it.
    pub spill_dir: PathBuf,
    /// Bytes of programs' objects there at most. Default: half of what is free on that disk at start.
    pub spill_limit_bytes: Option<u64>,
    /// For placement, and for people.
    pub labels: BTreeMap<String, String>,
    /// What it has besides slots and memory, such as `gpus`: thousandths by name.
    pub resources: BTreeMap<String, u64>,
    /// Variables of all tasks in processes of their own, unless their job says otherwise.
    pub environment: BTreeMap<String, String>,
    /// This process is for the worker alone: it starts none but executors, becomes the parent of what lost its own one, and divides its cgroup with
    /// them where it may.
    pub own_process: bool,
    /// How long a draining worker goes on serving what it holds before it leaves anyway.
    pub drain_timeout: Duration,
}

impl WorkerConfig {
    /// What queries and stored output may take together.
    pub(crate) fn pool_bytes(&self) -> u64 {
        self.memory_limit_bytes / 4 * 3
    }

    /// All that this worker has for tasks and leases.
    pub(crate) fn all_resources(&self) -> v1::Resources {
        let cpus = (CPUS.to_owned(), u64::from(self.slots) * SLOT_MILLI);
        let milli = self.resources.clone().into_iter().chain([cpus]).collect();
        v1::Resources { milli, memory_bytes: self.memory_limit_bytes }
    }

    /// Refuses what can never work, before anything is opened.
    pub(crate) fn check(&self) -> Result<(), WorkerError> {
        if self.memory_limit_bytes < MIN_MEMORY_BYTES {
            return Err(WorkerError::MemoryLimit { given_bytes: self.memory_limit_bytes });
        }
        if self.slots == 0 {
            return Err(WorkerError::NoSlots);
        }
        if self.advertised_host.is_none() && self.listen.ip().is_unspecified() {
            return Err(WorkerError::Unadvertised { listen: self.listen });
        }
        Ok(())
    }

    /// The name under which others reach a port of this worker.
    pub(crate) fn advertised(&self, bound: SocketAddr) -> String {
        match &self.advertised_host {
            Some(host) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{}", bound.port()),
            Some(host) => format!("{host}:{}", bound.port()),
            None if bound.ip().is_unspecified() => SocketAddr::new(self.listen.ip(), bound.port()).to_string(),
            None => bound.to_string(),
        }
    }
}
