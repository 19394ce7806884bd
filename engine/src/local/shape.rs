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
}

impl ClusterShape {
    /// Slots of all workers.
    pub(crate) fn slots(&self) -> u32 {
        self.workers.saturating_mul(self.cpus)
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

/// Thousandths by name as flags of a process.
pub(super) fn resource_flags(amounts: &BTreeMap<String, u64>) -> impl Iterator<Item = String> {
    amounts.iter().map(|(name, milli)| format!("--resource={name}={}", *milli as f64 / 1_000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_do() {
        let amounts = BTreeMap::from([("gpus".to_owned(), 1_500), ("license".to_owned(), 2_000)]);
        assert_eq!(resource_flags(&amounts).collect::<Vec<_>>(), ["--resource=gpus=1.5", "--resource=license=2"]);
    }

    #[test]
    fn a_share_has_bounds() {
        assert!(default_memory_bytes(1) <= MOST_MEMORY_BYTES);
        assert_eq!(default_memory_bytes(u32::MAX), LEAST_MEMORY_BYTES);
    }
}
