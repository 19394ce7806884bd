//! One task of a stage: where it stands, and what its attempts have cost so far.
//! Owned by its [`Stage`](super::stage::Stage).
//! Invariant: at most two attempts are placed, on different workers, and at most one is accepted; an attempt number is never
//! used twice.
//!
//!   Pending ──Launch──▶ Running ──Accept──▶ Held ──Release──▶ Spent
//!     ▲ │ ▲             │  ▲ │                │ ▲  ▲              │
//!     │ │ │        Launch  │ └─Leave, Requeue │ │  │              │
//!     │ │ │             ▼  Leave    │         │ │  │              │
//!     │ │ ├──Requeue── Raced ───────┼──Accept─┼─┼──┘              │
//!     │ │ └─────────────────────────┘         │ │                 │
//!     │ └──────────────Accept (held output reported)              │
//!     ├──────────────────Lose─────────────────┘                   │
//!     └──────────────────Reopen───────────────────────────────────┘

use std::fmt;

use tandem_proto::{Attempt, WorkerId};

use crate::time::Timestamp;
use crate::totals::Contribution;

/// An attempt that is placed on a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: Attempt,
    /// The input locations it was told.
    pub(crate) inputs_version: u32,
    pub(crate) started: Timestamp,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Waits for its inputs, a slot, or for someone who needs it.
    Pending,
    /// One attempt is placed.
    Running(Run),
    /// The first attempt takes long, so there is a second one: whichever finishes first counts.
    Raced(Run, Run),
    /// Finished, and its output can be read.
    Held { worker: WorkerId, attempt: Attempt },
    /// Finished, and nobody needs its output any more.
    Spent { worker: WorkerId, attempt: Attempt },
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskEvent {
    /// An attempt is placed: the first, or one more.
    Launch(Run),
    /// An attempt finished and counts.
    Accept { worker: WorkerId, attempt: Attempt },
    /// This placed attempt ended without a result.
    Leave(Attempt),
    /// What is placed is not wanted any more.
    Requeue,
    /// The output is gone, or does not count any more.
    Lose,
    /// The output is not needed any more.
    Release,
    /// The output is needed again after it was dropped.
    Reopen,
}

/// A transition that must not happen: a bug in the state machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a task cannot go from {state:?} by {event:?}")]
pub(crate) struct IllegalTransition {
    state: TaskState,
    event: TaskEvent,
}

impl TaskState {
    /// The state after `event`.
    pub(crate) fn apply(&mut self, event: TaskEvent) -> Result<(), IllegalTransition> {
        *self = match (*self, event) {
            (Self::Pending, TaskEvent::Launch(run)) => Self::Running(run),
            (Self::Running(first), TaskEvent::Launch(second)) if first.worker != second.worker => {
                Self::Raced(first, second)
            }
            (Self::Pending | Self::Running(_) | Self::Raced(..), TaskEvent::Accept { worker, attempt }) => {
                Self::Held { worker, attempt }
            }
            (Self::Running(run), TaskEvent::Leave(attempt)) if run.attempt == attempt => Self::Pending,
            (Self::Raced(first, second), TaskEvent::Leave(attempt)) if first.attempt == attempt => {
                Self::Running(second)
            }
            (Self::Raced(first, second), TaskEvent::Leave(attempt)) if second.attempt == attempt => {
                Self::Running(first)
            }
            (Self::Running(_) | Self::Raced(..), TaskEvent::Requeue) => Self::Pending,
            (Self::Held { .. }, TaskEvent::Lose) => Self::Pending,
            (Self::Held { worker, attempt }, TaskEvent::Release) => Self::Spent { worker, attempt },
            (Self::Spent { .. }, TaskEvent::Reopen) => Self::Pending,
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        Ok(())
    }

    /// What is placed, in the order it was started.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> + use<> {
        let (first, second) = match *self {
            Self::Running(run) => (Some(run), None),
            Self::Raced(first, second) => (Some(first), Some(second)),
            Self::Pending | Self::Held { .. } | Self::Spent { .. } => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// This very attempt, if it is placed on this worker.
    pub(crate) fn run(&self, worker: WorkerId, attempt: Attempt) -> Option<Run> {
        self.runs().find(|run| run.worker == worker && run.attempt == attempt)
    }

    /// Whether an attempt is placed.
    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_) | Self::Raced(..))
    }

    /// The worker and attempt whose result is accepted.
    pub(crate) fn accepted(&self) -> Option<(WorkerId, Attempt)> {
        match *self {
            Self::Held { worker, attempt } | Self::Spent { worker, attempt } => Some((worker, attempt)),
            Self::Pending | Self::Running(_) | Self::Raced(..) => None,
        }
    }
}

/// A task and its history, as small as it can be: a job may have hundreds of thousands.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    /// The number of the next attempt.
    pub(crate) next_attempt: u32,
    /// Attempts below this number are not accepted any more, whoever holds them.
    pub(crate) oldest_valid: u32,
    /// When the accepted attempt started and ended.
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
    /// Rows and bytes of the accepted attempt, or of the first that runs as of the last heartbeat.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// What its accepted attempt adds to the stage's totals.
    pub(crate) contribution: Contribution,
    trouble: Option<Box<Trouble>>,
}

/// What the attempts of a task have cost. Most tasks have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Failures of the task's own code.
    pub(crate) failures: u32,
    /// Workers lost while they ran it.
    pub(crate) workers_lost: u32,
    /// Attempts whose input could not be read.
    pub(crate) fetch_failures: u32,
    /// Workers where it failed, to try others first.
    pub(crate) avoid: Vec<WorkerId>,
}

impl Task {
    /// A task that was never started; its attempts count from `first_attempt`.
    pub(crate) fn new(first_attempt: u32) -> Self {
        Self {
            state: TaskState::Pending,
            next_attempt: first_attempt,
            oldest_valid: 0,
            started: Timestamp::default(),
            ended: Timestamp::default(),
            rows: 0,
            bytes: 0,
            contribution: Contribution::None,
            trouble: None,
        }
    }

    /// The only way its state changes.
    ///
    /// # Panics
    /// When the transition is illegal, which no input can bring about.
    pub(crate) fn apply(&mut self, event: TaskEvent) {
        if let Err(bug) = self.state.apply(event) {
            panic!("{bug}");
        }
    }

    /// When an attempt of it that runs or is accepted was started.
    pub(crate) fn started(&self, attempt: Attempt) -> Timestamp {
        self.state.runs().find(|run| run.attempt == attempt).map_or(self.started, |run| run.started)
    }

    /// What it has cost so far.
    pub(crate) fn trouble(&mut self) -> &mut Trouble {
        self.trouble.get_or_insert_default()
    }

    /// Workers where it failed before.
    pub(crate) fn avoids(&self) -> &[WorkerId] {
        self.trouble.as_ref().map_or(&[], |trouble| &trouble.avoid)
    }

    /// Starts counting afresh: it has finished once, so it is neither broken nor poisonous, or the whole job is retried.
    pub(crate) fn forgive(&mut self) {
        self.trouble = None;
    }

    /// Whether an output of `attempt` may be accepted.
    pub(crate) fn accepts(&self, attempt: Attempt) -> bool {
        self.state == TaskState::Pending && attempt.0 >= self.oldest_valid
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("pending"),
            Self::Running(run) => write!(f, "attempt {} running on {}", run.attempt, run.worker),
            Self::Raced(first, second) => {
                write!(
                    f,
                    "attempts {} and {} running on {} and {}",
                    first.attempt, second.attempt, first.worker, second.worker
                )
            }
            Self::Held { worker, attempt } => write!(f, "attempt {attempt} held by {worker}"),
            Self::Spent { attempt, .. } => write!(f, "attempt {attempt} finished"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: WorkerId = WorkerId(1);
    const A: Attempt = Attempt(4);

    #[test]
    fn transitions() {
        let run = |worker, attempt| Run { worker, attempt, inputs_version: 2, started: Timestamp(7) };
        let (first, second, elsewhere) = (run(W, A), run(WorkerId(2), Attempt(5)), run(W, Attempt(6)));
        let accept = TaskEvent::Accept { worker: W, attempt: A };
        let events = [
            TaskEvent::Launch(first),
            TaskEvent::Launch(second),
            TaskEvent::Launch(elsewhere),
            accept,
            TaskEvent::Leave(A),
            TaskEvent::Leave(Attempt(5)),
            TaskEvent::Requeue,
            TaskEvent::Lose,
            TaskEvent::Release,
            TaskEvent::Reopen,
        ];
        let pending = TaskState::Pending;
        let running = TaskState::Running;
        let raced = TaskState::Raced(first, second);
        let held = TaskState::Held { worker: W, attempt: A };
        let spent = TaskState::Spent { worker: W, attempt: A };
        let none = [None; 10];
        let table = [
            (pending, {
                let launched = [first, second, elsewhere].map(|run| Some(running(run)));
                [launched[0], launched[1], launched[2], Some(held), None, None, None, None, None, None]
            }),
            (
                running(first),
                [None, Some(raced), None, Some(held), Some(pending), None, Some(pending), None, None, None],
            ),
            (raced, {
                let (left, kept) = (Some(running(second)), Some(running(first)));
                [None, None, None, Some(held), left, kept, Some(pending), None, None, None]
            }),
            (held, [None, None, None, None, None, None, None, Some(pending), Some(spent), None]),
            (spent, [&none[..9], &[Some(pending)]].concat().try_into().unwrap()),
        ];
        for (before, after) in table {
            for (event, expected) in events.into_iter().zip(after) {
                let mut state = before;
                let result = state.apply(event);
                assert_eq!(result.is_ok().then_some(state), expected, "{before:?} by {event:?}");
                assert!(result.is_ok() || state == before, "an illegal transition changes nothing");
            }
        }
    }

    #[test]
    fn an_attempt_from_before_its_input_changed_is_not_accepted() {
        let mut task = Task::new(0);
        task.oldest_valid = 2;
        assert!(!task.accepts(Attempt(1)));
        assert!(task.accepts(Attempt(2)));
    }
}
