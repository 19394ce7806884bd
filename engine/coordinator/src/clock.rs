//! The clock of one reign: wall-clock time that never runs backwards, as the state machine needs it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tandem_scheduler::Timestamp;

/// Reads the wall clock once and counts on from there, so that nobody who sets it moves a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    epoch_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch_ms: since_epoch.as_millis() as u64 }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.epoch_ms + self.started.elapsed().as_millis() as u64)
    }

    /// When this reign began.
    pub(crate) fn started(&self) -> Timestamp {
        Timestamp(self.epoch_ms)
    }

    /// The moment at which [`Self::now`] has come to `time`.
    pub(crate) fn instant(&self, time: Timestamp) -> Instant {
        self.started + std::time::Duration::from_millis(time.0.saturating_sub(self.epoch_ms))
    }
}
