//! A task that is to run here.
//!
//! ```text
//!   Fetching ─arguments are here─► Inbox ─► Sent to a process ─► ended
//!      ▲                            │ ▲         │
//!      └─arguments went to disk─────┘ └─ back ──┘
//! ```
//!
//! A task of this worker's own goes back to its queue instead, where others may get it.

use std::sync::Arc;

use tandem_actor_protocol::call::{Arg, TaskOptions};
use tandem_actor_protocol::{ExecutorId, WorkerId};

use super::GroupId;
use crate::tasks::{Wanted, is_alone};

/// What is known of a task that is to run here.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) source: Source,
    pub(crate) attempt: u32,
    pub(crate) group: GroupId,
    pub(crate) phase: Phase,
    /// What it is; none if it is in the table of this worker's own tasks.
    pub(crate) guest: Option<Box<Guest>>,
}

/// Who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// This worker.
    Own,
    /// Another worker, on a lease of it.
    Peer { worker: WorkerId, lease: u64 },
    /// A stage that runs here.
    Shell {
        ticket: u64,
        /// It has brought a place along.
        has_place: bool,
    },
    /// Nobody any more.
    Nobody,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// So many arguments are on their way here.
    Fetching { missing: u32 },
    /// Waits for a place and a process.
    Inbox,
    /// At a process.
    Sent(ExecutorId),
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PhaseEvent {
    /// One argument more is here.
    ArgumentHere,
    /// A process gets it.
    Send(ExecutorId),
    /// The process has not begun it.
    Back,
    /// Some of its arguments went to disk.
    ArgumentsAway,
}

/// What cannot happen in a phase.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hosted task that is {phase:?} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    phase: Phase,
    event: PhaseEvent,
}

/// A task that this worker does not own.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) function: Arc<str>,
    pub(crate) args: Box<[Arg]>,
    pub(crate) returns: u32,
    pub(crate) options: Option<Box<TaskOptions>>,
    /// Its owner wants it ended.
    pub(crate) cancelled: bool,
    /// As for a task of this worker.
    pub(crate) spared: bool,
    /// The items that its owner wants, if it yields any.
    pub(crate) wanted: Option<Box<Wanted>>,
}

impl Hosted {
    /// The process that it is at.
    pub(crate) fn executor(&self) -> Option<ExecutorId> {
        match self.phase {
            Phase::Sent(executor) => Some(executor),
            Phase::Fetching { .. } | Phase::Inbox => None,
        }
    }
}

impl Guest {
    /// As for a task of this worker.
    pub(crate) fn is_alone(&self) -> bool {
        is_alone(self.spared, self.options.as_deref())
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        let name = self.options.as_deref().map(|options| options.name.as_str());
        name.filter(|name| !name.is_empty()).unwrap_or(&self.function)
    }
}

impl Phase {
    /// The only place where the phase of a hosted task changes.
    pub(crate) fn apply(&mut self, event: PhaseEvent) -> Result<(), IllegalTransition> {
        *self = match (*self, event) {
            (Self::Fetching { missing: 0 | 1 }, PhaseEvent::ArgumentHere) => Self::Inbox,
            (Self::Fetching { missing }, PhaseEvent::ArgumentHere) => Self::Fetching { missing: missing - 1 },
            (Self::Inbox, PhaseEvent::Send(executor)) => Self::Sent(executor),
            (Self::Sent(_), PhaseEvent::Back) => Self::Inbox,
            (Self::Inbox, PhaseEvent::ArgumentsAway) => Self::Fetching { missing: 1 },
            (phase, event) => return Err(IllegalTransition { phase, event }),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions() {
        use Phase::{Fetching, Inbox, Sent};
        use PhaseEvent::{ArgumentHere, ArgumentsAway, Back, Send};
        let executor = ExecutorId(3);
        let cases = [
            (Fetching { missing: 2 }, ArgumentHere, Some(Fetching { missing: 1 })),
            (Fetching { missing: 1 }, ArgumentHere, Some(Inbox)),
            (Fetching { missing: 1 }, Send(executor), None),
            (Inbox, Send(executor), Some(Sent(executor))),
            (Inbox, ArgumentHere, None),
            (Inbox, ArgumentsAway, Some(Fetching { missing: 1 })),
            (Sent(executor), ArgumentsAway, None),
            (Sent(executor), Back, Some(Inbox)),
            (Sent(executor), Send(executor), None),
        ];
        for (phase, event, expected) in cases {
            let mut after = phase;
            assert_eq!(after.apply(event).is_ok(), expected.is_some(), "{phase:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(phase), "{phase:?} and {event:?}");
        }
    }
}
