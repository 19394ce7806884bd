//! What a runtime is started with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tandem_actor_protocol::WorkerId;
use tandem_proto::transport::ClientSecurity;

/// Everything that the runtime of one worker is told at start.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// The worker.
    pub worker: WorkerId,
    /// What people call it.
    pub worker_name: String,
    /// What is shown to other workers.
    pub security: ClientSecurity,
    /// A folder of its own, with one folder for each job in it.
    pub work_dir: PathBuf,
    /// A folder of its own for objects that have no room in memory; none: they stay there. Default none.
    pub spill_dir: Option<PathBuf>,
    /// Variables of every process, unless its job says otherwise.
    pub environment: BTreeMap<String, String>,
    /// Memory that the processes of one executor may take together where nothing else is asked for; 0 is no limit.
    pub slot_memory_bytes: u64,
    /// The cgroup that this process is in, to be divided among it and its executors, as
    /// [`divisible_cgroup`](crate::divisible_cgroup) finds it; none: executors are watched only. Only for a process that starts no others
    /// than executors. Default none.
    pub cgroup: Option<PathBuf>,
    /// What the processes of one executor may fill of shared memory, the arena of their job, which the limit of a cgroup counts as theirs.
    /// Default 1 GiB.
    pub arena_bytes: u64,
    /// Processes that one executor may have at once, itself included. Default 512.
    pub max_processes: usize,
    /// How often memory and number of processes are looked at. Default 100 ms.
    pub watch_interval: Duration,
    /// How long a process may take to say hello. Default 30 s.
    pub hello_timeout: Duration,
    /// How long a process that was asked to end may take. Default 5 s.
    pub stop_grace: Duration,
    /// How long a process may not read what is sent to it. Default 30 s.
    pub stuck_grace: Duration,
    /// How long a driver waits for the client that it is to run at. Default 30 s.
    pub attach_grace: Duration,
    /// Bytes that may wait for a process that does not read. Default 256 MiB.
    pub queue_bytes: u64,
    /// Processes that lost their parent become children of this process, which ends and reaps those of its executors. Only for
    /// a process that starts no others than executors.
    pub adopt_orphans: bool,
}

impl RuntimeConfig {
    /// Default sizes and times, for a worker with a folder of its own.
    pub fn new(worker: WorkerId, worker_name: impl Into<String>, work_dir: impl Into<PathBuf>) -> Self {
        Self {
            worker,
            worker_name: worker_name.into(),
            security: ClientSecurity::default(),
            work_dir: work_dir.into(),
            spill_dir: None,
            environment: BTreeMap::new(),
            slot_memory_bytes: 0,
            cgroup: None,
            arena_bytes: 1 << 30,
            max_processes: 512,
            watch_interval: Duration::from_millis(100),
            hello_timeout: Duration::from_secs(30),
            stop_grace: Duration::from_secs(5),
            stuck_grace: Duration::from_secs(30),
            attach_grace: Duration::from_secs(30),
            queue_bytes: 256 << 20,
            adopt_orphans: false,
        }
    }
}
