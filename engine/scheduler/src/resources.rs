//! What workers have, and what work takes of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
pub use tandem_proto::resources::CPUS;
pub(crate) use tandem_proto::resources::SLOT_MILLI;

/// Amounts of what has a name, and memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths by name; none is zero.
    pub milli: BTreeMap<String, u64>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// What one unit of work takes of its worker, and which workers will do.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// What it takes.
    pub resources: Resources,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
    /// Leases of it are rather where few are than at their owner. Does not matter in a placement group, and is not journaled.
    #[serde(skip)]
    pub spread: bool,
    /// A lease of it is at its owner or nowhere, for what has begun there and waits to go on, whether the worker drains or not.
    #[serde(skip)]
    pub here: bool,
}

impl Resources {
    /// The amount of one resource, in thousandths.
    pub fn amount(&self, name: &str) -> u64 {
        self.milli.get(name).copied().unwrap_or_default()
    }

    /// Adds what `other` has.
    pub(crate) fn add(&mut self, other: &Self) {
        for (name, amount) in &other.milli {
            let sum = self.milli.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
        self.memory_bytes = self.memory_bytes.saturating_add(other.memory_bytes);
    }

    /// Takes away what `other` has. What was never added is not there to be taken.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.milli {
            if let Some(sum) = self.milli.get_mut(name) {
                *sum = sum.saturating_sub(*amount);
            }
        }
        self.milli.retain(|_, amount| *amount > 0);
        self.memory_bytes = self.memory_bytes.saturating_sub(other.memory_bytes);
    }

    /// Whether, when `used` of it is taken, `more` is left.
    pub(crate) fn has_room(&self, used: &Self, more: &Self) -> bool {
        let enough = |name: &str, wanted: u64| self.amount(name).saturating_sub(used.amount(name)) >= wanted;
        more.milli.iter().all(|(name, wanted)| enough(name, *wanted))
            && self.memory_bytes.saturating_sub(used.memory_bytes) >= more.memory_bytes
    }
}

impl Shape {
    /// Thousandths of processors that it takes.
    pub fn cpus(&self) -> u64 {
        self.resources.amount(CPUS)
    }

    /// The resource besides processors that work of this shape competes for, if any.
    pub(crate) fn scarce(&self) -> Option<&str> {
        self.resources.milli.keys().map(String::as_str).find(|name| *name != CPUS)
    }

    /// Whether a worker with these labels will do.
    pub(crate) fn accepts(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Such as `gpus 1, cpus 0.5, memory 1024 MiB, zone=a`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = self.resources.milli.iter().map(|(name, milli)| format!("{name} {}", Milli(*milli)));
        let memory =
            Some(self.resources.memory_bytes).filter(|bytes| *bytes > 0).map(|bytes| format!("memory {}", Mib(bytes)));
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let parts: Vec<_> = amounts.chain(memory).chain(labels).collect();
        f.write_str(if parts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

/// Thousandths as people write them: `2`, `0.5`.
pub(crate) struct Milli(pub(crate) u64);

impl fmt::Display for Milli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / 1_000.0)
    }
}

/// Bytes, rounded up to whole MiB.
pub(crate) struct Mib(pub(crate) u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0.div_ceil(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(cpus: u64, gpus: u64, memory_bytes: u64) -> Resources {
        let milli = [(CPUS, cpus), ("gpus", gpus)].into_iter().filter(|(_, amount)| *amount > 0);
        Resources { milli: milli.map(|(name, amount)| (name.to_owned(), amount)).collect(), memory_bytes }
    }

    #[test]
    fn there_is_room_as_long_as_nothing_is_taken_twice() {
        let all = resources(2_000, 1_000, 10);
        let used = resources(1_500, 0, 4);
        assert!(all.has_room(&used, &resources(500, 1_000, 6)));
        assert!(!all.has_room(&used, &resources(501, 0, 0)));
        assert!(!all.has_room(&used, &resources(0, 1_001, 0)));
        assert!(!all.has_room(&used, &resources(0, 0, 7)));
        assert!(all.has_room(&resources(9_000, 0, 0), &resources(0, 1_000, 0)), "too much of another is taken");
    }

    #[test]
    fn what_is_added_and_subtracted_leaves_nothing() {
        let mut sum = resources(1_000, 0, 5);
        sum.add(&resources(500, 250, 1));
        assert_eq!(sum, resources(1_500, 250, 6));
        sum.subtract(&resources(500, 250, 1));
        sum.subtract(&resources(1_000, 0, 5));
        assert_eq!(sum, Resources::default());
    }

    #[test]
    fn a_shape_reads_like_its_flags() {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        let shape = Shape { resources: resources(500, 1_000, 1 << 20), labels, spread: false, here: false };
        assert_eq!(shape.to_string(), "cpus 0.5, gpus 1, memory 1 MiB, zone=a");
        assert_eq!(Shape::default().to_string(), "nothing");
        assert_eq!((shape.scarce(), Shape::default().scarce()), (Some("gpus"), None));
        assert!(shape.accepts(&shape.labels) && !shape.accepts(&BTreeMap::new()));
    }
}
