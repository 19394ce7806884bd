//! What is to be looked at later. A timer that is not needed any more is not taken out: whoever gets it looks whether it still matters.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, PlacementGroupId};

use crate::host::GroupId;
use crate::tasks::ShapeId;

/// Microseconds since any start that the shell has chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So many milliseconds after that start.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// So many milliseconds later.
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this; 0 if it is not earlier.
    pub fn us_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Something of a job to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A process may have been idle for long enough to be ended.
    ExecutorIdle(ExecutorId),
    /// The first task of a process may have taken longer than it may, as this timer was set for.
    Attempt { executor: ExecutorId, at: Timestamp },
    /// A call that was cancelled by force may still be there.
    CancelKill(CallId),
    /// An actor that was to end may still be there.
    ActorKill(ActorId),
    /// A lease on another worker may have been idle for long enough to be given back.
    LeaseIdle(u64),
    /// Places of this worker may have been free for long enough to be given back.
    SpareLeases(GroupId),
    /// The coordinator may not know what is wanted.
    Demand(ShapeId),
    /// The grant of a lease may not come any more.
    UnknownLease(u64),
    /// A placement group may not be reserved in time.
    Group(PlacementGroupId),
    /// Something may have waited for room for too long.
    Space,
    /// A call may still be in a wait, and then the next look at that is after this pause.
    Stuck { call: CallId, wait: u64, pause_ms: u64 },
}

/// All timers of a node, the next one first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Entry>>,
    set: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    /// Timers of the same time come in the order in which they were set.
    set: u64,
    job: JobId,
    timer: Timer,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Timestamp, job: JobId, timer: Timer) {
        self.heap.push(Reverse(Entry { at, set: self.set, job, timer }));
        self.set += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next one out if its time has come.
    pub(crate) fn due(&mut self, now: Timestamp) -> Option<(JobId, Timer)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.job, entry.timer))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.set).cmp(&(other.at, other.set))
    }
}
