//! What was measured.

use std::time::Instant;

/// How often a state machine was called, and how long it took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter {
    pub(crate) events: u64,
    pub(crate) spent_ns: u64,
    pub(crate) longest_ns: u64,
}

impl Meter {
    /// What came after `before`.
    #[allow(dead_code)] // Only the example measures a while.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            events: self.events - before.events,
            spent_ns: self.spent_ns - before.spent_ns,
            longest_ns: self.longest_ns,
        }
    }

    pub(crate) fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.events += 1;
        self.spent_ns += ns;
        self.longest_ns = self.longest_ns.max(ns);
        result
    }
}
