//! When a process that died is started again: at once, and ever later if it keeps dying young.

use std::time::Duration;

/// A process that lives this long is sound; its next death is a new story.
const SOUND: Duration = Duration::from_secs(10);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// How often one process died young in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Restarts {
    young_deaths: u32,
}

impl Restarts {
    /// The process died after `lifetime`. Returns how long to wait before the next start.
    pub(super) fn died(&mut self, lifetime: Duration) -> Duration {
        if lifetime >= SOUND {
            self.young_deaths = 0;
        }
        let delay = match self.young_deaths {
            0 => Duration::ZERO,
            deaths => FIRST_DELAY.saturating_mul(1 << (deaths - 1).min(16)).min(LONGEST_DELAY),
        };
        self.young_deaths = self.young_deaths.saturating_add(1);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_wait_longer() {
        let mut restarts = Restarts::default();
        let young = Duration::from_millis(50);
        let delays: Vec<u64> = (0..10).map(|_| restarts.died(young).as_millis() as u64).collect();
        assert_eq!(delays, [0, 100, 200, 400, 800, 1_000, 1_000, 1_000, 1_000, 1_000]);
        assert_eq!(restarts.died(SOUND), Duration::ZERO);
        assert_eq!(restarts.died(young), FIRST_DELAY);
    }
}
