//! The shared memory of a worker.

use std::collections::BTreeMap;

use tandem_actor_protocol::{ExtentId, Location};

/// What large values are, in bytes.
pub(crate) const LARGE: u64 = 70_000;

/// The memory of one worker: what was written where.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    written: BTreeMap<(ExtentId, u64), u64>,
}

impl Memory {
    pub(crate) fn write(&mut self, at: Location, number: u64) {
        self.written.retain(|(extent, offset), _| {
            *extent != at.extent || *offset + LARGE <= at.offset || at.offset + LARGE <= *offset
        });
        self.written.insert((at.extent, at.offset), number);
    }

    pub(crate) fn read(&self, at: Location) -> Option<u64> {
        self.written.get(&(at.extent, at.offset)).copied()
    }
}
