//! One actor of this worker, over all its restarts.
//!
//! ```text
//!   Naming ─► Waiting ─args are there─► Queued ─lease─► Starting ─► Ready ─kill─► Ending
//!                 ▲                       ▲                │          │              │
//!                 └───────────────────────┴──── lost ──────┴──────────┘              │
//!   any of them ─► Gone ◄────────────────────────────────────────────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;

use tandem_actor_protocol::WorkerId;
use tandem_actor_protocol::call::{ActorSpec, Arg};
use tandem_actor_protocol::failure::Failure;

use super::Checkpoints;
use crate::tasks::ShapeId;

/// What is known of an actor.
#[derive(Debug)]
pub(crate) struct OwnedActor {
    /// Without its arguments.
    pub(crate) spec: Box<ActorSpec>,
    pub(crate) args: Box<[Arg]>,
    pub(crate) shape: ShapeId,
    pub(crate) state: OwnedState,
    /// Which start of it this is, or the next will be.
    pub(crate) attempt: u32,
    /// How often it came back because an argument could not be read.
    pub(crate) unread: u8,
    pub(crate) checkpoints: Checkpoints,
    /// Other workers that want to know where it is.
    pub(crate) watchers: BTreeSet<WorkerId>,
}

/// Where an actor stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnedState {
    /// The coordinator is asked whether it may have its name.
    Naming,
    /// Some arguments of its constructor have no value yet.
    Waiting { missing: u32 },
    /// Waits for a lease.
    Queued,
    /// Its process starts, or its constructor runs.
    Starting { host: WorkerId, lease: u64 },
    /// Takes calls.
    Ready { host: WorkerId, lease: u64 },
    /// Is to end.
    Ending { host: WorkerId, lease: u64 },
    /// Gone for good.
    Gone(Arc<Failure>),
}

/// What can happen to an actor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnedEvent {
    /// It is to be started when so many arguments have a value.
    Wait { missing: u32 },
    /// One argument more has a value.
    ArgumentThere,
    /// It has a lease.
    Place { host: WorkerId, lease: u64 },
    /// Its constructor has returned.
    Started,
    /// Someone wants it ended where it is.
    End,
    /// It will not live again.
    Gone(Arc<Failure>),
}

/// What cannot happen in a state.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("an actor that is {state:?} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    state: OwnedState,
    event: OwnedEvent,
}

impl OwnedState {
    /// The only place where the state of an actor changes.
    pub(crate) fn apply(&mut self, event: OwnedEvent) -> Result<(), IllegalTransition> {
        use OwnedEvent::{ArgumentThere, End, Place, Started, Wait};
        *self = match (&*self, event) {
            (Self::Naming | Self::Queued | Self::Starting { .. } | Self::Ready { .. }, Wait { missing }) => {
                match missing {
                    0 => Self::Queued,
                    missing => Self::Waiting { missing },
                }
            }
            (Self::Waiting { missing: 0 | 1 }, ArgumentThere) => Self::Queued,
            (Self::Waiting { missing }, ArgumentThere) => Self::Waiting { missing: missing - 1 },
            (Self::Queued, Place { host, lease }) => Self::Starting { host, lease },
            (Self::Starting { host, lease }, Started) => Self::Ready { host: *host, lease: *lease },
            (Self::Starting { host, lease } | Self::Ready { host, lease }, End) => {
                Self::Ending { host: *host, lease: *lease }
            }
            (
                Self::Naming
                | Self::Waiting { .. }
                | Self::Queued
                | Self::Starting { .. }
                | Self::Ready { .. }
                | Self::Ending { .. },
                OwnedEvent::Gone(why),
            ) => Self::Gone(why),
            (state, event) => return Err(IllegalTransition { state: state.clone(), event }),
        };
        Ok(())
    }

    /// Where it is, if it is anywhere.
    pub(crate) fn at(&self) -> Option<(WorkerId, u64)> {
        match self {
            Self::Starting { host, lease } | Self::Ready { host, lease } | Self::Ending { host, lease } => {
                Some((*host, *lease))
            }
            Self::Naming | Self::Waiting { .. } | Self::Queued | Self::Gone(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use tandem_actor_protocol::failure::FailureKind;

    use super::*;

    #[test]
    fn transitions() {
        use OwnedEvent::{ArgumentThere, End, Place, Started, Wait};
        use OwnedState::{Ending, Naming, Queued, Ready, Starting, Waiting};
        let (host, lease) = (WorkerId(3), 9);
        let gone = Arc::new(Failure::new(FailureKind::ActorGone, "A", "killed"));
        let cases = [
            (Naming, Wait { missing: 0 }, Some(Queued)),
            (Naming, Place { host, lease }, None),
            (Waiting { missing: 2 }, ArgumentThere, Some(Waiting { missing: 1 })),
            (Waiting { missing: 1 }, ArgumentThere, Some(Queued)),
            (Queued, Place { host, lease }, Some(Starting { host, lease })),
            (Queued, Started, None),
            (Starting { host, lease }, Started, Some(Ready { host, lease })),
            (Ready { host, lease }, Wait { missing: 1 }, Some(Waiting { missing: 1 })),
            (Ready { host, lease }, End, Some(Ending { host, lease })),
            (Ending { host, lease }, Wait { missing: 0 }, None),
            (Ending { host, lease }, OwnedEvent::Gone(gone.clone()), Some(OwnedState::Gone(gone.clone()))),
            (OwnedState::Gone(gone.clone()), Wait { missing: 0 }, None),
            (OwnedState::Gone(gone.clone()), OwnedEvent::Gone(gone), None),
        ];
        for (state, event, expected) in cases {
            let mut after = state.clone();
            assert_eq!(after.apply(event.clone()).is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{event:?}");
        }
    }
}
