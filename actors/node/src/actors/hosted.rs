//! One actor that lives here.
//!
//! ```text
//!   Placing ─place─► Fetching ─arguments are here─► Launching ─process is there─► Constructing ─► Ready ─► Ending
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tandem_actor_protocol::call::{ActorSpec, Arg, ConcurrencyGroup};
use tandem_actor_protocol::{CallId, ExecutorId, WorkerId};

use super::Lane;
use super::held::Saving;
use crate::timers::Timestamp;

/// What is known of an actor that lives here.
#[derive(Debug)]
pub(crate) struct HostedActor {
    pub(crate) owner: WorkerId,
    /// Zero: none, it takes nothing.
    pub(crate) lease: u64,
    pub(crate) attempt: u32,
    /// Without its arguments.
    pub(crate) spec: Box<ActorSpec>,
    pub(crate) args: Box<[Arg]>,
    /// The last argument is its checkpoint.
    pub(crate) has_checkpoint: bool,
    pub(crate) state: HostedState,
    pub(crate) executor: Option<ExecutorId>,
    pub(crate) saving: Saving,
    /// Its calls that have not ended.
    pub(crate) calls: BTreeSet<CallId>,
    /// Those that are not at its process yet.
    pub(crate) lanes: BTreeMap<Lane, VecDeque<CallId>>,
    /// When the last call that is in no group ended, if it takes one of these at a time.
    pub(crate) last_ended: Timestamp,
    /// The same of its groups.
    pub(crate) last_ended_in: BTreeMap<Arc<ConcurrencyGroup>, Timestamp>,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostedState {
    /// Its lease is not free yet.
    Placing,
    /// So many arguments are on their way here.
    Fetching { missing: u32 },
    /// Its process starts.
    Launching,
    /// Its constructor runs.
    Constructing,
    /// Takes calls.
    Ready,
    /// Ends after the calls that it has.
    Ending,
}

/// What can happen to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostedEvent {
    /// It has its place, and waits for so many arguments.
    Place { missing: u32 },
    /// One argument more is here.
    ArgumentHere,
    /// Its process is there.
    Launched,
    /// Its constructor has returned.
    Started,
    /// It is to end.
    End,
}

/// What cannot happen in a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an actor here that is {state:?} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    state: HostedState,
    event: HostedEvent,
}

impl HostedState {
    /// The only place where this state changes.
    pub(crate) fn apply(&mut self, event: HostedEvent) -> Result<(), IllegalTransition> {
        use HostedEvent::{ArgumentHere, End, Launched, Place, Started};
        *self = match (*self, event) {
            (Self::Placing | Self::Fetching { missing: 0 }, Place { missing: 0 }) => Self::Launching,
            (Self::Placing | Self::Fetching { missing: 0 }, Place { missing }) => Self::Fetching { missing },
            (Self::Fetching { missing: 0 | 1 }, ArgumentHere) => Self::Launching,
            (Self::Fetching { missing }, ArgumentHere) => Self::Fetching { missing: missing - 1 },
            (Self::Launching, Launched) => Self::Constructing,
            (Self::Constructing, Started) => Self::Ready,
            (Self::Constructing | Self::Ready, End) => Self::Ending,
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        Ok(())
    }
}

impl HostedActor {
    /// Calls of a group, or of none, that it works on at once.
    pub(crate) fn concurrency_of(&self, group: Option<&Arc<ConcurrencyGroup>>) -> u32 {
        group.map_or(self.spec.options.concurrency, |group| group.concurrency).max(1)
    }

    pub(crate) fn new(owner: WorkerId, lease: u64, attempt: u32, spec: Box<ActorSpec>, args: Box<[Arg]>) -> Self {
        Self {
            owner,
            lease,
            attempt,
            spec,
            args,
            has_checkpoint: false,
            state: HostedState::Placing,
            executor: None,
            saving: Saving::default(),
            calls: BTreeSet::new(),
            lanes: BTreeMap::new(),
            last_ended: Timestamp::default(),
            last_ended_in: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions() {
        use HostedEvent::{ArgumentHere, End, Launched, Place, Started};
        use HostedState::{Constructing, Ending, Fetching, Launching, Placing, Ready};
        let cases = [
            (Placing, Place { missing: 0 }, Some(Launching)),
            (Placing, Place { missing: 2 }, Some(Fetching { missing: 2 })),
            (Placing, Launched, None),
            (Fetching { missing: 2 }, ArgumentHere, Some(Fetching { missing: 1 })),
            (Fetching { missing: 1 }, ArgumentHere, Some(Launching)),
            (Launching, Launched, Some(Constructing)),
            (Launching, End, None),
            (Constructing, Started, Some(Ready)),
            (Constructing, End, Some(Ending)),
            (Ready, End, Some(Ending)),
            (Ending, Started, None),
        ];
        for (state, event, expected) in cases {
            let mut after = state;
            assert_eq!(after.apply(event).is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{state:?} and {event:?}");
        }
    }
}
