//! How large a local cluster is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// No worker of a local cluster gets more than this unless told.
const MOST_MEMORY_BYTES: u64 = 2 << 30;
/// No worker can work with less.
const LEAST_MEMORY_BYTES: u64 = 256 << 20;

/// The size of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterShape {
    /// Worker processes.
    pub(crate) workers: u32,
    /// Slots of each.
    pub(crate) cpus: u32,
    /// Memory of each.
    pub(crate) memory_bytes: u64,
    /// What each has besides: thousandths by name.
    pub(crate) resources: BTreeMap<String, u64>,
    /// Variables that each gives to programs.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
}

impl ClusterShape {
    /// Slots of all workers.
    pub(crate) fn slots(&self) -> u32 {
        self.workers.saturating_mul(self.cpus)
    }

    /// What each worker has and gives, as flags of a process.
    pub(super) fn worker_flags(&self) -> impl Iterator<Item = String> {
        let amounts = self.resources.iter();
        let amounts = amounts.map(|(name, milli)| format!("--resource={name}={}", *milli as f64 / 1_000.0));
        amounts.chain(self.environment.iter().map(|(name, value)| format!("--env={name}={value}")))
    }
}

/// An even share of half of what this machine, or the container around this process, has.
pub(crate) fn default_memory_bytes(workers: u32) -> u64 {
    let available = [machine_memory_bytes(), container_memory_bytes()].into_iter().flatten().min();
    let share = available.unwrap_or(MOST_MEMORY_BYTES) / 2 / u64::from(workers.max(1));
    share.clamp(LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES)
}

fn machine_memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn container_memory_bytes() -> Option<u64> {
    std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do() {
        let shape = ClusterShape {
            workers: 1,
            cpus: 1,
            memory_bytes: 0,
            resources: BTreeMap::from([("gpus".to_owned(), 1_500), ("license".to_owned(), 2_000)]),
            environment: BTreeMap::from([("MODE".to_owned(), "a=b".to_owned())]),
        };
        let flags: Vec<String> = shape.worker_flags().collect();
        assert_eq!(flags, ["--resource=gpus=1.5", "--resource=license=2", "--env=MODE=a=b"]);
    }

    #[test]
    fn a_share_has_bounds() {
        assert!(default_memory_bytes(1) <= MOST_MEMORY_BYTES);
        assert_eq!(default_memory_bytes(u32::MAX), LEAST_MEMORY_BYTES);
    }
}
