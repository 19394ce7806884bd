//! What a node must know about its worker, and its limits.

use tandem_actor_protocol::WorkerId;
use tandem_arena::ArenaConfig;

/// How a node works.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The worker.
    pub worker: WorkerId,
    /// Its name, for people.
    pub worker_name: String,
    /// Where its node is reached by others; empty if by none.
    pub address: String,
    /// How many GPUs it has; they have the indices from 0 on.
    pub gpus: u32,
    /// The shared memory of each job.
    pub arena: ArenaConfig,
    /// Processes of one job that run tasks here, blocked ones included, at most. Default 1024.
    pub max_task_executors: usize,
    /// An idle process that runs tasks is ended after this; one of each job stays. Default 10,000 ms.
    pub executor_idle_ms: u64,
    /// An idle lease is given back after this. Default 500 ms.
    pub lease_idle_ms: u64,
    /// Leases of one shape that are asked for at most; actors come on top. Default 4096.
    pub max_leases: u32,
    /// Tasks that are sent ahead to one process at most. Default 32.
    pub executor_depth: u32,
    /// Tasks that are sent ahead on one lease of another worker at most. Default 8.
    pub peer_depth: u32,
    /// So many processes in a row that end before they say anything fail what they were for. Default 3.
    pub max_failed_starts: u32,
    /// What is asked to end is killed after this. Default 2,000 ms.
    pub stop_grace_ms: u64,
    /// An actor that ends in order has this much time for the calls it has. Default 30,000 ms.
    pub actor_grace_ms: u64,
    /// What waits for room in shared memory fails after this. Default 10,000 ms.
    pub space_wait_ms: u64,
    /// Bytes of all jobs' objects on disk, where they go when there is no room for others in shared memory; 0: none do. Default 0.
    pub spill_limit_bytes: u64,
    /// From this size on an object is copied to other workers by turns, and from worker to worker when many want it at the same time; what
    /// is smaller is read at once from where it was said to be. Default 1 MiB.
    pub spread_bytes: u64,
    /// Copies of one such object that are read from one worker at the same time, at most. Default 2.
    pub copies_at_once: u32,
    /// A task on a lease that is not known here goes back after this. Default 5,000 ms.
    pub unknown_lease_ms: u64,
}

impl NodeConfig {
    /// The defaults, for this worker.
    pub fn new(worker: WorkerId, worker_name: impl Into<String>) -> Self {
        Self {
            worker,
            worker_name: worker_name.into(),
            address: String::new(),
            gpus: 0,
            arena: ArenaConfig::default(),
            max_task_executors: 1024,
            executor_idle_ms: 10_000,
            lease_idle_ms: 500,
            max_leases: 4096,
            executor_depth: 32,
            peer_depth: 8,
            max_failed_starts: 3,
            stop_grace_ms: 2_000,
            actor_grace_ms: 30_000,
            space_wait_ms: 10_000,
            spill_limit_bytes: 0,
            spread_bytes: 1 << 20,
            copies_at_once: 2,
            unknown_lease_ms: 5_000,
        }
    }
}
