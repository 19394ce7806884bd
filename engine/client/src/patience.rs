//! Waiting for a coordinator that went away: its supervisor starts it again within moments.

use std::time::Duration;

use tokio::time::Instant;

/// As long as the coordinator waits for attached clients after a restart.
const LONGEST_ABSENCE: Duration = Duration::from_secs(30);
const FIRST_RETRY: Duration = Duration::from_millis(5);
const LONGEST_RETRY: Duration = Duration::from_millis(250);

/// Counts from the moment a connection broke.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// When to give up.
    pub(crate) until: Instant,
    next: Duration,
}

impl Patience {
    pub(crate) fn from_now() -> Self {
        Self { until: Instant::now() + LONGEST_ABSENCE, next: Duration::ZERO }
    }

    /// Waits until it makes sense to try again; false when patience has run out.
    pub(crate) async fn wait(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).clamp(FIRST_RETRY, LONGEST_RETRY);
        true
    }
}
