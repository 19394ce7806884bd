//! Counts what is unpacked, and lets no more through than there may be.

use std::cell::Cell;
use std::io::{self, Read};

use super::limits::Limits;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Meter {
    limit_bytes: u64,
    /// The size of the archive, if the limit comes from that.
    archive_bytes: Option<u64>,
    taken_bytes: Cell<u64>,
    exceeded: Cell<bool>,
}

impl Meter {
    /// For an archive of so many bytes.
    pub(super) fn new(limits: &Limits, archive_bytes: u64) -> Self {
        let in_ratio = archive_bytes.saturating_mul(limits.ratio).max(limits.small_bytes);
        let archive_bytes = (in_ratio < limits.bytes).then_some(archive_bytes);
        Self {
            limit_bytes: in_ratio.min(limits.bytes),
            archive_bytes,
            taken_bytes: Cell::new(0),
            exceeded: Cell::new(false),
        }
    }

    /// What came through.
    pub(super) fn taken_bytes(&self) -> u64 {
        self.taken_bytes.get()
    }

    /// The limit, and the size of the archive if it comes from that; none as long as it holds.
    pub(super) fn exceeded(&self) -> Option<(u64, Option<u64>)> {
        self.exceeded.get().then_some((self.limit_bytes, self.archive_bytes))
    }
}

/// A reader of what is unpacked.
#[derive(Debug)]
pub(super) struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter,
}

impl<'a, R> Metered<'a, R> {
    pub(super) fn new(inner: R, meter: &'a Meter) -> Self {
        Self { inner, meter }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let taken = self.meter.taken_bytes.get() + read as u64;
        if taken > self.meter.limit_bytes {
            self.meter.exceeded.set(true);
            return Err(io::Error::other("more than there may be"));
        }
        self.meter.taken_bytes.set(taken);
        Ok(read)
    }
}
