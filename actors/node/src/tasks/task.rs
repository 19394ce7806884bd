//! One task of this worker, over all its attempts.
//!
//! ```text
//!   Waiting ─args are there─► Queued ─place─► Placed ─finish─► Finished ─its objects were lost─► Queued or Waiting
//!                               ▲               │
//!                               └─── back ──────┘  (given back, or its attempt failed and is worth another)
//! ```
//!
//! A finished task stays as long as someone holds an object that only another worker has: it is its lineage.

use std::sync::Arc;

use tandem_actor_protocol::call::{Arg, RetryOn, TaskOptions, TaskSpec};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{CallId, WorkerId};

use super::ShapeId;

/// What is known of a task. There may be millions, so it is kept small.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) function: Arc<str>,
    pub(crate) args: Box<[Arg]>,
    pub(crate) parent: Parent,
    pub(crate) options: Option<Box<TaskOptions>>,
    pub(crate) returns: u32,
    pub(crate) shape: ShapeId,
    pub(crate) state: TaskState,
    /// Counts whatever may be under way, so that what is said of an old attempt is known as such.
    pub(crate) attempt: u32,
    /// Attempts that failed and count against its retries.
    pub(crate) failures: u32,
    /// Its objects that someone holds.
    pub(crate) live: u32,
    /// How often it ran again because an object could not be read from a worker that lives, or came back because an argument could not.
    pub(crate) rebuilds: u8,
    /// It was at a process that died, and that was not counted: whether it had begun is not known. Once is enough: from now on it
    /// is alone in its process.
    pub(crate) spared: bool,
}

/// The call that submitted a task, if any. It takes half of what an `Option<CallId>` would, and does not make what it is in larger by
/// its alignment.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(8))]
pub(crate) struct Parent(u128);

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Some arguments have no value yet.
    Waiting { missing: u32 },
    /// Waits for a lease.
    Queued,
    /// At a host, which may be this worker.
    Placed { host: WorkerId, lease: u64, cancelled: bool },
    /// Done for now.
    Finished,
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// One argument more has a value.
    ArgumentThere,
    /// It was sent to a host.
    Place { host: WorkerId, lease: u64 },
    /// It is to be run from the start, when so many arguments have a value.
    Back { missing: u32 },
    /// Someone wants it ended where it is.
    Cancel,
    /// There will be no other attempt for now.
    Finish,
}

/// What cannot happen in a state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {state:?} cannot get {event:?}")]
pub(crate) struct IllegalTransition {
    state: TaskState,
    event: TaskEvent,
}

impl Parent {
    /// No call has this number: it would be one of worker 0.
    const NONE: u128 = 0;

    pub(crate) fn call(self) -> Option<CallId> {
        (self.0 != Self::NONE).then_some(CallId(self.0))
    }
}

impl From<Option<CallId>> for Parent {
    fn from(call: Option<CallId>) -> Self {
        Self(call.map_or(Self::NONE, |call| call.0))
    }
}

impl TaskState {
    /// It is at another worker than `here`.
    pub(crate) fn is_elsewhere(self, here: WorkerId) -> bool {
        matches!(self, Self::Placed { host, .. } if host != here)
    }

    /// The only place where the state of a task changes.
    pub(crate) fn apply(&mut self, event: TaskEvent) -> Result<(), IllegalTransition> {
        use TaskEvent::{ArgumentThere, Back, Cancel, Finish, Place};
        *self = match (*self, event) {
            (Self::Waiting { missing: 0 | 1 }, ArgumentThere) => Self::Queued,
            (Self::Waiting { missing }, ArgumentThere) => Self::Waiting { missing: missing - 1 },
            (Self::Queued, Place { host, lease }) => Self::Placed { host, lease, cancelled: false },
            (Self::Queued | Self::Placed { .. } | Self::Finished, Back { missing: 0 }) => Self::Queued,
            (Self::Queued | Self::Placed { .. } | Self::Finished, Back { missing }) => Self::Waiting { missing },
            (Self::Placed { host, lease, .. }, Cancel) => Self::Placed { host, lease, cancelled: true },
            (Self::Waiting { .. } | Self::Queued | Self::Placed { .. }, Finish) => Self::Finished,
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        Ok(())
    }
}

impl Task {
    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        self.options
            .as_deref()
            .map(|options| options.name.as_str())
            .filter(|name| !name.is_empty())
            .unwrap_or(&self.function)
    }

    /// As it is sent to another worker.
    pub(crate) fn spec(&self, call: CallId) -> TaskSpec {
        TaskSpec {
            call,
            function: self.function.to_string(),
            args: self.args.to_vec(),
            returns: self.returns,
            parent: self.parent.call(),
            options: self.options.clone(),
        }
    }

    /// Whether it is to be alone in its process.
    pub(crate) fn is_alone(&self) -> bool {
        is_alone(self.spared, self.options.as_deref())
    }

    /// Whether a failed attempt is worth another.
    pub(crate) fn retries(&self, failure: &Failure) -> bool {
        const DEFAULT_RETRIES: u32 = 3;
        let retries = self.options.as_deref().map_or(DEFAULT_RETRIES, |options| options.retries);
        let worth_it = match failure.kind {
            FailureKind::Returned => self.options.as_deref().is_some_and(|options| wants(&options.retry_on, failure)),
            kind => kind.retryable(),
        };
        worth_it && self.failures < retries
    }
}

/// Whether a task is to be alone in its process, so that it is known that it has begun when that dies: if that matters more than how
/// soon it begins.
pub(crate) fn is_alone(spared: bool, options: Option<&TaskOptions>) -> bool {
    spared || options.is_some_and(|options| options.retries == 0)
}

fn wants(retry_on: &RetryOn, failure: &Failure) -> bool {
    match retry_on {
        RetryOn::Never => false,
        RetryOn::Any => true,
        RetryOn::Containing(texts) => {
            let said = || std::iter::once(&failure.message).chain(&failure.chain);
            texts.iter().any(|text| said().any(|line| line.contains(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_task_stays_small() {
        assert!(size_of::<Task>() <= 104, "a task takes {} bytes", size_of::<Task>());
        assert!(size_of::<Arg>() <= 80, "an argument takes {} bytes", size_of::<Arg>());
        for call in [None, Some(CallId(1)), Some(CallId(u128::MAX))] {
            assert_eq!(Parent::from(call).call(), call);
        }
    }

    #[test]
    fn transitions() {
        use TaskEvent::{ArgumentThere, Back, Cancel, Finish, Place};
        use TaskState::{Finished, Placed, Queued, Waiting};
        let host = WorkerId(2);
        let placed = Placed { host, lease: 7, cancelled: false };
        let cases = [
            (Waiting { missing: 2 }, ArgumentThere, Some(Waiting { missing: 1 })),
            (Waiting { missing: 1 }, ArgumentThere, Some(Queued)),
            (Waiting { missing: 1 }, Place { host, lease: 7 }, None),
            (Waiting { missing: 1 }, Finish, Some(Finished)),
            (Queued, ArgumentThere, None),
            (Queued, Place { host, lease: 7 }, Some(placed)),
            (Queued, Back { missing: 1 }, Some(Waiting { missing: 1 })),
            (Queued, Finish, Some(Finished)),
            (Queued, Cancel, None),
            (placed, Back { missing: 0 }, Some(Queued)),
            (placed, Cancel, Some(Placed { host, lease: 7, cancelled: true })),
            (placed, Place { host, lease: 8 }, None),
            (placed, Finish, Some(Finished)),
            (Finished, Back { missing: 0 }, Some(Queued)),
            (Finished, Finish, None),
        ];
        for (state, event, expected) in cases {
            let mut after = state;
            assert_eq!(after.apply(event).is_ok(), expected.is_some(), "{state:?} and {event:?}");
            assert_eq!(after, expected.unwrap_or(state), "{state:?} and {event:?}");
        }
    }

    #[test]
    fn an_error_is_retried_only_if_asked_for() {
        let returned =
            Failure { chain: vec!["connection reset".into()], ..Failure::new(FailureKind::Returned, "f", "no") };
        let lost = Failure::new(FailureKind::ProcessLost, "f", "signal 9");
        let task = |retry_on, retries, failures| Task {
            function: "f".into(),
            args: Box::default(),
            parent: None.into(),
            options: Some(Box::new(TaskOptions { retry_on, retries, ..TaskOptions::default() })),
            returns: 1,
            shape: ShapeId(0),
            state: TaskState::Queued,
            attempt: 0,
            failures,
            live: 1,
            rebuilds: 0,
            spared: false,
        };
        assert!(!task(RetryOn::Never, 3, 0).retries(&returned) && task(RetryOn::Never, 3, 2).retries(&lost));
        assert!(!task(RetryOn::Never, 3, 3).retries(&lost) && task(RetryOn::Any, 1, 0).retries(&returned));
        let reset = || RetryOn::Containing(vec!["reset".into()]);
        assert!(task(reset(), 1, 0).retries(&returned) && !task(reset(), 1, 1).retries(&returned));
        assert!(!task(RetryOn::Containing(vec!["timeout".into()]), 1, 0).retries(&returned));
    }
}
