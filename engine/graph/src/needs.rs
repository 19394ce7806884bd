//! What the tasks of a stage need of their workers besides a slot.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What a task of a stage takes of its worker, and which workers will do. A task always has a slot, which is one processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageNeeds {
    /// The step that says so, for messages.
    pub step: String,
    /// Thousandths of each resource by name; none is zero. Of `cpus` all that it takes, with its slot.
    pub milli: BTreeMap<String, u64>,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
}

/// What is needed, without who needs it: `cpus 2, gpus 0.5, zone=a`.
impl fmt::Display for StageNeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amounts = self.milli.iter().map(|(name, milli)| format!("{name} {}", *milli as f64 / 1_000.0));
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        f.write_str(&amounts.chain(labels).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_read_as_they_are_written() {
        let needs = StageNeeds {
            step: "vectors".to_owned(),
            milli: [("gpus".to_owned(), 500), ("cpus".to_owned(), 2_000)].into(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
        };
        assert_eq!(needs.to_string(), "cpus 2, gpus 0.5, zone=a");
    }
}
