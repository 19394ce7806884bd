//! Why a call has no result, typed by what its caller can do, whole on every wire.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What happened.
    pub kind: FailureKind,
    /// In words.
    pub message: String,
    /// The causes of an error that a function returned, outermost first.
    pub chain: Vec<String>,
    /// The task or method.
    pub task: String,
    /// The worker it ran on; empty if it never started.
    pub worker: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// The failure of another call that this one needed.
    pub cause: Option<Box<Failure>>,
}

/// What happened, as far as it matters to who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// The function returned an error.
    Returned,
    /// The function panicked.
    Panicked,
    /// Its process ended.
    ProcessLost,
    /// Its worker was lost.
    WorkerLost,
    /// Its process took more memory than it may.
    MemoryLimit,
    /// It took longer than it may.
    TimedOut,
    /// Someone asked for it.
    Cancelled,
    /// An argument has no value.
    Dependency,
    /// The actor is gone for good.
    ActorGone,
    /// So many calls wait for the actor that no more are taken.
    TooManyPending,
    /// The object is gone and cannot be made again.
    ObjectLost,
    /// No worker can ever run it.
    Unschedulable,
    /// There is no such function, class, method or actor.
    NotFound,
    /// Arguments or results are not what the other side expects.
    Mismatch,
    /// Shared memory or disk is full.
    StoreFull,
    /// Tasks wait for each other in a circle, or for slots that their own callers hold.
    Deadlock,
    /// Another actor has the name.
    NameTaken,
}

impl Failure {
    /// A failure of `task` without history.
    pub fn new(kind: FailureKind, task: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            chain: Vec::new(),
            task: task.into(),
            worker: String::new(),
            attempts: 0,
            cause: None,
        }
    }
}

impl FailureKind {
    /// Whether another attempt may end otherwise, without anyone having changed anything.
    pub fn retryable(self) -> bool {
        match self {
            Self::ProcessLost | Self::WorkerLost | Self::MemoryLimit | Self::TimedOut | Self::StoreFull => true,
            Self::Returned
            | Self::Panicked
            | Self::Cancelled
            | Self::Dependency
            | Self::ActorGone
            | Self::TooManyPending
            | Self::ObjectLost
            | Self::Unschedulable
            | Self::NotFound
            | Self::Mismatch
            | Self::Deadlock
            | Self::NameTaken => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", if self.task.is_empty() { "a task" } else { &self.task })?;
        if !self.worker.is_empty() {
            write!(f, " on {}", self.worker)?;
        }
        if self.attempts > 1 {
            write!(f, " after {} attempts", self.attempts)?;
        }
        write!(f, ": {}", self.message)?;
        self.chain.iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        self.cause.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Failure {}
