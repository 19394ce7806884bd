//! One process of a job.
//!
//! ```text
//!   Starting ─hello─► Idle ─given─► Busy ─blocked─► Blocking ─lent─► Blocked ─unblocked─► Resuming ─place─► Busy
//!                      ▲              │              │  └─unblocked─► Busy         │                    │
//!                      └───drained────┴──────────────┴─────────────────────────────┴────────────────────┘
//! ```
//!
//! Who waits lends its place only when its process has nothing else: it may be ended while it waits, and the process begins what
//! is next before it hears that its place is not its own.
//!
//! A process that is not there for tasks is idle all the time.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_actor_protocol::{ActorId, CallId, ExtentId, ObjectId, ProcessNumber};

use super::ClassId;
use crate::host::GroupId;
use crate::timers::Timestamp;

/// What is known of a process.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) purpose: Purpose,
    pub(crate) state: ExecutorState,
    pub(crate) label: String,
    pub(crate) pid: Option<u32>,
    /// Of the messages it speaks, once it has said hello.
    protocol: u16,
    /// What its ids are made with, once it has said hello.
    pub(crate) process: Option<ProcessNumber>,
    /// Objects that it holds.
    pub(crate) held: FxHashSet<ObjectId>,
    /// Extents that it has mapped, and whether it may write them.
    pub(crate) extents: FxHashMap<ExtentId, bool>,
    /// Tasks that it has, the one that runs first.
    pub(crate) calls: VecDeque<CallId>,
    /// The last task that it said it has begun, and when.
    pub(crate) began: Option<(CallId, Timestamp)>,
    /// For which places it works.
    pub(crate) group: Option<GroupId>,
    /// What it runs is of this worker.
    pub(crate) runs_own: bool,
    /// It was asked for tasks and has not answered.
    pub(crate) recalling: bool,
    pub(crate) idle_since: Timestamp,
    /// It is looked at again by a timer.
    pub(crate) idle_timer: bool,
    /// When its first task will have taken longer than it may.
    pub(crate) overdue_at: Option<Timestamp>,
    /// When that is looked at by a timer.
    pub(crate) overdue_timer: Option<Timestamp>,
    /// Why it was asked to end.
    pub(crate) fate: Option<Fate>,
}

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Driver,
    Tasks(ClassId),
    Actor(ActorId),
    /// Many light actors.
    Light,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutorState {
    Starting,
    Idle,
    Busy,
    /// Its task waits, and has its place until nothing is queued behind it.
    Blocking(CallId),
    Blocked(CallId),
    Resuming(CallId),
}

/// What can happen to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExecutorEvent {
    Hello,
    Given,
    Blocked(CallId),
    Lent,
    Unblocked(CallId),
    Resumed,
    Drained,
}

/// What cannot happen in a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a process that is {state:?} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    state: ExecutorState,
    event: ExecutorEvent,
}

/// Why this worker ends a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has nothing to do.
    Idle,
    /// What it runs took too long.
    TimedOut,
    /// Someone wants what it runs ended.
    Cancelled,
    /// It lies.
    Broken(String),
    /// Its actor is to end.
    ActorEnded,
    /// One of its light actors holds it up.
    HeldUp(String),
    /// Its actor cannot go on from where it is.
    GivenUp(String),
    /// Its job has ended, or its driver is to.
    JobEnded,
}

/// What a process did when its first task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    Busy,
    Blocked,
    Resuming,
}

impl ExecutorState {
    /// The only place where the state of a process changes.
    pub(crate) fn apply(&mut self, event: ExecutorEvent) -> Result<(), IllegalTransition> {
        use ExecutorEvent::{Drained, Given, Hello, Lent, Resumed, Unblocked};
        *self = match (*self, event) {
            (Self::Starting, Hello) => Self::Idle,
            (Self::Idle, Given) => Self::Busy,
            (Self::Busy, ExecutorEvent::Blocked(call)) => Self::Blocking(call),
            (Self::Blocking(call), Lent) => Self::Blocked(call),
            (Self::Blocking(call), Unblocked(other)) if call == other => Self::Busy,
            (Self::Blocked(call), Unblocked(other)) if call == other => Self::Resuming(call),
            (Self::Resuming(_), Resumed) => Self::Busy,
            (Self::Busy | Self::Blocking(_) | Self::Blocked(_) | Self::Resuming(_), Drained) => Self::Idle,
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        Ok(())
    }
}

impl Executor {
    pub(crate) fn new(purpose: Purpose, label: String, now: Timestamp) -> Self {
        Self {
            purpose,
            state: ExecutorState::Starting,
            label,
            pid: None,
            protocol: 0,
            process: None,
            held: FxHashSet::default(),
            extents: FxHashMap::default(),
            calls: VecDeque::new(),
            began: None,
            group: None,
            runs_own: false,
            recalling: false,
            idle_since: now,
            idle_timer: false,
            overdue_at: None,
            overdue_timer: None,
            fate: None,
        }
    }

    pub(crate) fn said_hello(&mut self, protocol: u16, process: ProcessNumber) -> bool {
        self.protocol = protocol;
        self.process = Some(process);
        self.state.apply(ExecutorEvent::Hello).is_ok()
    }

    /// Whether it can be told to write no more in an extent that it goes on reading; an older one forgets it.
    pub(crate) fn reads_what_it_gave_up(&self) -> bool {
        self.protocol >= 3
    }

    /// Whether it can be told that what calls of an actor return is held.
    pub(crate) fn knows_held_results(&self) -> bool {
        self.protocol >= 3
    }

    /// It writes no more in an extent.
    pub(crate) fn gave_up(&mut self, extent: ExtentId) {
        if !self.reads_what_it_gave_up() {
            self.extents.remove(&extent);
        } else if let Some(writable) = self.extents.get_mut(&extent) {
            *writable = false;
        }
    }

    /// It has its first task.
    pub(crate) fn given(&mut self) {
        let _ = self.state.apply(ExecutorEvent::Given);
    }

    /// False: that cannot be so.
    pub(crate) fn block(&mut self, call: CallId) -> bool {
        self.state.apply(ExecutorEvent::Blocked(call)).is_ok()
    }

    /// Whether its task waits, has its place still, and can lend it now.
    pub(crate) fn lend(&mut self) -> bool {
        self.calls.len() == 1 && self.state.apply(ExecutorEvent::Lent).is_ok()
    }

    /// False: that cannot be so.
    pub(crate) fn unblock(&mut self, call: CallId) -> bool {
        self.state.apply(ExecutorEvent::Unblocked(call)).is_ok()
    }

    /// Returns what goes on.
    pub(crate) fn resumed(&mut self) -> Option<CallId> {
        let ExecutorState::Resuming(call) = self.state else { return None };
        self.state.apply(ExecutorEvent::Resumed).ok().map(|()| call)
    }

    /// Its first task has ended.
    pub(crate) fn drained(&mut self) -> Was {
        let was = match self.state {
            ExecutorState::Blocked(_) => Was::Blocked,
            ExecutorState::Resuming(_) => Was::Resuming,
            ExecutorState::Busy | ExecutorState::Blocking(_) | ExecutorState::Idle | ExecutorState::Starting => {
                Was::Busy
            }
        };
        let _ = self.state.apply(ExecutorEvent::Drained);
        was
    }

    /// It begins what it has queued.
    pub(crate) fn go_on(&mut self) {
        self.given();
    }

    /// Whether it works and may get more.
    pub(crate) fn is_busy(&self) -> bool {
        self.state == ExecutorState::Busy && self.fate.is_none()
    }

    /// When it said that it has begun this task, if it has not said so of a later one.
    pub(crate) fn began(&self, call: CallId) -> Option<Timestamp> {
        self.began.filter(|(begun, _)| *begun == call).map(|(_, at)| at)
    }

    /// Whether this task is the one that waits here.
    pub(crate) fn waits_for(&self, call: CallId) -> bool {
        self.state == ExecutorState::Blocking(call) || self.has_lent(call)
    }

    /// Whether this task is the one that waits here, and has no place meanwhile.
    pub(crate) fn has_lent(&self, call: CallId) -> bool {
        matches!(self.state, ExecutorState::Blocked(other) | ExecutorState::Resuming(other) if other == call)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions() {
        use ExecutorEvent::{Drained, Given, Hello, Lent, Resumed, Unblocked};
        use ExecutorState::{Blocked, Blocking, Busy, Idle, Resuming, Starting};
        let (call, other) = (CallId(1), CallId(2));
        let cases = [
            (Starting, Hello, Some(Idle)),
            (Starting, Given, None),
            (Idle, Hello, None),
            (Idle, Given, Some(Busy)),
            (Idle, ExecutorEvent::Blocked(call), None),
            (Busy, ExecutorEvent::Blocked(call), Some(Blocking(call))),
            (Busy, Lent, None),
            (Busy, Given, None),
            (Busy, Drained, Some(Idle)),
            (Blocking(call), Lent, Some(Blocked(call))),
            (Blocking(call), Unblocked(call), Some(Busy)),
            (Blocking(call), Unblocked(other), None),
            (Blocking(call), Drained, Some(Idle)),
            (Blocked(call), Unblocked(call), Some(Resuming(call))),
            (Blocked(call), Unblocked(other), None),
            (Blocked(call), Drained, Some(Idle)),
            (Resuming(call), Resumed, Some(Busy)),
            (Resuming(call), Drained, Some(Idle)),
            (Resuming(call), ExecutorEvent::Blocked(call), None),
        ];
        for (state, event, expected) in cases {
            let mut after = state;
            assert_eq!(after.apply(event).is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{state:?} and {event:?}");
        }
    }
}
