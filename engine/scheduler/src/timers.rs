//! What waits for time to pass.
//! Invariant: a timer is armed once. It may fire early, so whoever it wakes looks at the time again and arms anew.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{JobId, WorkerId};

use crate::time::Timestamp;

/// Whom a deadline wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// More tasks can be placed than one event may start.
    Dispatch,
    /// Tasks that run may have become stragglers.
    Stragglers,
    /// Some may have more than their share while others wait.
    Sharing,
    /// A worker's lease, its grace to come back, the patience with its draining, or the time it is shown as lost.
    Worker(WorkerId),
    /// A job's timeout, its followers' lease, its delay, or its wait for workers.
    Job(JobId),
}

/// The armed timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, Timer)>,
    armed: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Wakes `timer` at `at`, unless it is woken earlier anyway.
    pub(crate) fn arm(&mut self, timer: Timer, at: Timestamp) {
        match self.armed.get(&timer) {
            Some(&earlier) if earlier <= at => return,
            Some(&later) => self.due.remove(&(later, timer)),
            None => false,
        };
        self.armed.insert(timer, at);
        self.due.insert((at, timer));
    }

    /// Forgets a timer.
    pub(crate) fn disarm(&mut self, timer: Timer) {
        if let Some(at) = self.armed.remove(&timer) {
            self.due.remove(&(at, timer));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Takes one timer that is due.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<Timer> {
        let &(at, timer) = self.due.first()?;
        if at > now {
            return None;
        }
        self.disarm(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_deadline_wins() {
        let mut timers = Timers::default();
        timers.arm(Timer::Dispatch, Timestamp(20));
        timers.arm(Timer::Dispatch, Timestamp(10));
        timers.arm(Timer::Dispatch, Timestamp(30));
        assert_eq!(timers.next(), Some(Timestamp(10)));
        assert_eq!(timers.pop(Timestamp(9)), None);
        assert_eq!(timers.pop(Timestamp(10)), Some(Timer::Dispatch));
        assert_eq!(timers.next(), None);
    }
}
