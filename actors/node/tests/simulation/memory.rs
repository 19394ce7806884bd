//! The shared memory of a worker.

use std::collections::BTreeMap;

use tandem_actor_protocol::{ExtentId, Location};

/// The memory of one worker: length and number of what was written where.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    written: BTreeMap<(ExtentId, u64), (u64, u64)>,
}

impl Memory {
    pub(crate) fn write(&mut self, at: Location, number: u64) {
        self.written.retain(|(extent, offset), (length, _)| {
            *extent != at.extent || *offset + *length <= at.offset || at.offset + at.length <= *offset
        });
        self.written.insert((at.extent, at.offset), (at.length, number));
    }

    pub(crate) fn read(&self, at: Location) -> Option<u64> {
        let written = self.written.get(&(at.extent, at.offset));
        written.filter(|(length, _)| *length == at.length).map(|(_, number)| *number)
    }
}
