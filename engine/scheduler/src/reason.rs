//! Why something waits and why a job failed: for machines by code, for people by text.

use std::fmt;

use serde::{Deserialize, Serialize};
use tandem_proto::StageId;

/// Why a job, stage or task does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingReason {
    /// The output of these inputs is not complete; names the first.
    InputsIncomplete(StageId),
    /// Every slot of every usable worker is taken.
    NoFreeSlot,
    /// What a task takes besides a slot is in use; says which step needs what.
    InUse(String),
    /// No worker could ever run a task; says which step, and what is missing.
    NoSuchWorker(String),
    /// The workers with free slots have little memory left.
    NoMemory,
    /// No worker takes tasks.
    NoWorkers,
    /// The workers are out of touch.
    NoneInTouch,
    /// The free slots are on workers where this task failed before.
    AvoidsFreeWorkers,
    /// The coordinator restarted and waits for its workers to come back.
    Reattaching,
    /// The job failed and waits before it starts again.
    RetryDelay,
    /// No unfinished stage reads it.
    NotNeeded,
    /// Slots are free; it starts with the next event.
    Scheduling,
    /// The job is publishing its files.
    Committing,
}

impl PendingReason {
    /// For machines: a word, or `word: detail`.
    pub fn code(&self) -> String {
        let word = match self {
            Self::InputsIncomplete(stage) => return format!("inputs-incomplete: stage {stage}"),
            Self::InUse(needs) => return format!("resources-in-use: {needs}"),
            Self::NoSuchWorker(why) => return format!("no-such-worker: {why}"),
            Self::NoFreeSlot => "no-free-slot",
            Self::NoMemory => "no-memory",
            Self::NoWorkers => "no-workers",
            Self::NoneInTouch => "none-in-touch",
            Self::AvoidsFreeWorkers => "avoids-free-workers",
            Self::Reattaching => "reattaching",
            Self::RetryDelay => "retry-delay",
            Self::NotNeeded => "not-needed",
            Self::Scheduling => "scheduling",
            Self::Committing => "committing",
        };
        word.to_owned()
    }
}

/// For people.
impl fmt::Display for PendingReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InputsIncomplete(stage) => write!(f, "waits for stage {stage} to finish"),
            Self::NoFreeSlot => f.write_str("waits for a slot: all are taken"),
            Self::InUse(needs) => write!(f, "waits for resources: {needs}, and all of it is in use"),
            Self::NoSuchWorker(why) => write!(f, "waits for another worker: {why}"),
            Self::NoMemory => f.write_str("waits for memory: running tasks hold most of it"),
            Self::NoWorkers => f.write_str("waits for a worker: none takes tasks"),
            Self::NoneInTouch => f.write_str("waits for a worker: none is in touch"),
            Self::AvoidsFreeWorkers => f.write_str("waits for another worker: it failed on those with free slots"),
            Self::Reattaching => f.write_str("waits for workers to come back to the restarted coordinator"),
            Self::RetryDelay => f.write_str("waits a moment before the failed job starts again"),
            Self::NotNeeded => f.write_str("nothing needs its output"),
            Self::Scheduling => f.write_str("is about to start"),
            Self::Committing => f.write_str("publishes its files"),
        }
    }
}

/// Why bundles of a placement group have no place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupReason {
    /// The workers that could hold them all are in use.
    NoRoom,
    /// No worker takes work.
    NoWorkers,
    /// A worker that had some of them is lost or drains, and no other has room.
    WorkerLost,
    /// The workers there are could never hold them all; says what is missing.
    Unsatisfiable(String),
}

impl GroupReason {
    /// For machines: a word, or `word: detail`.
    pub fn code(&self) -> String {
        match self {
            Self::NoRoom => "no-room".to_owned(),
            Self::NoWorkers => "no-workers".to_owned(),
            Self::WorkerLost => "worker-lost".to_owned(),
            Self::Unsatisfiable(why) => format!("unsatisfiable: {why}"),
        }
    }
}

/// For people.
impl fmt::Display for GroupReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("waits until there is room for all of its bundles at once"),
            Self::NoWorkers => f.write_str("waits for a worker: none takes work"),
            Self::WorkerLost => f.write_str("waits for another worker: one that had a bundle is gone"),
            Self::Unsatisfiable(why) => write!(f, "waits for other workers: {why}"),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobOutcome {
    /// Everything ran and is committed.
    Succeeded,
    /// It could not be done.
    Failed(JobFailure),
    /// Someone stopped it; says why.
    Stopped(String),
}

/// Why a job failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// What kind of failure it is.
    pub reason: FailureReason,
    /// The stage, such as `3 (join orders)`; empty when it is none's.
    pub stage: String,
    /// The task, such as `3/17 attempt 2`; empty when it is none's.
    pub task: String,
    /// The worker; empty when it is none's.
    pub worker: String,
    /// What happened.
    pub cause: String,
    /// What to do, if there is one thing to do.
    pub help: String,
}

/// Kinds of job failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// A task failed in a way that would happen anywhere.
    Fatal,
    /// A task used up its attempts.
    AttemptsExhausted,
    /// A task took down one worker after another.
    Poisonous,
    /// A task's inputs could not be read again and again.
    InputsUnreadable,
    /// There was no worker for longer than the grace period.
    NoWorkers,
    /// The job took longer than it may.
    TimedOut,
    /// The rows of a step are too few or too many.
    CheckFailed,
    /// The files could not be published.
    CommitFailed,
    /// No worker could run a stage for longer than the grace period.
    Unschedulable,
}

impl FailureReason {
    /// Whether starting the job again might help.
    pub fn retryable(self) -> bool {
        match self {
            Self::AttemptsExhausted
            | Self::Poisonous
            | Self::InputsUnreadable
            | Self::NoWorkers
            | Self::Unschedulable
            | Self::CommitFailed => true,
            Self::Fatal | Self::TimedOut | Self::CheckFailed => false,
        }
    }
}
