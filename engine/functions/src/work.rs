//! What functions did, beside the rows that they gave: how much of what, on which device, in what time.

use std::collections::BTreeMap;
use std::time::Duration;

/// What some calls did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Work {
    done: BTreeMap<(String, String), Amount>,
}

/// So much, in so long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// How long it took.
    pub time: Duration,
}

impl Work {
    /// Counts `count` of `unit`, such as tokens, that took `time` on `device`.
    pub fn add(&mut self, unit: &str, device: &str, count: u64, time: Duration) {
        let amount = self.done.entry((unit.to_owned(), device.to_owned())).or_default();
        amount.count += count;
        amount.time += time;
    }

    /// Unit, device, and how much.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Amount)> {
        self.done.iter().map(|((unit, device), amount)| (unit.as_str(), device.as_str(), *amount))
    }
}
