//! Ids of everything that is named across processes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(feature = "rpc")]
use crate::v1;

/// A text that is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id (it looks like `{prefix}` and 16 hexadecimal digits)")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:016x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .filter(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), kind: $kind, prefix: $prefix })
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

random_id!(
    /// One accepted job. Drawn at random, so that it is unique over restarts of the coordinator.
    JobId,
    "job",
    "j"
);
random_id!(
    /// One worker process. Drawn at random when it starts: a restarted process is another worker.
    WorkerId,
    "worker",
    "w"
);
number!(
    /// A stage of one job. Counts from 1 in an order in which inputs come first.
    StageId,
    u32
);
number!(
    /// A partition of a stage plan, counted from 0.
    PartitionId,
    u32
);
number!(
    /// How often a task was started before, counted from 0.
    Attempt,
    u32
);
number!(
    /// One registration of a worker. Messages of an older epoch are dropped.
    Epoch,
    u64
);
number!(
    /// One reign of a coordinator over its data folder. Workers refuse a lower one.
    Term,
    u64
);

number!(
    /// The right to run the fine tasks of one owner on one worker. Chosen by the coordinator and never used again.
    LeaseId,
    u64
);

/// One task of a job: a stage plan and some of its partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The job it belongs to.
    pub job: JobId,
    /// The stage it belongs to.
    pub stage: StageId,
    /// Its place among the stage's tasks.
    pub index: u32,
}

#[cfg(feature = "rpc")]
impl TaskId {
    /// The wire form of one attempt of this task.
    pub fn attempt(self, attempt: Attempt) -> v1::TaskAttempt {
        v1::TaskAttempt { job: self.job.0, stage: self.stage.0, task: self.index, attempt: attempt.0 }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.stage, self.index)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "rpc")]
impl v1::TaskAttempt {
    /// The task and attempt this message names.
    pub fn ids(&self) -> (TaskId, Attempt) {
        let task = TaskId { job: JobId(self.job), stage: StageId(self.stage), index: self.task };
        (task, Attempt(self.attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text() {
        for id in [JobId(0), JobId(42), JobId(u64::MAX)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn what_is_not_an_id_is_named() {
        for text in ["", "j", "j12", "w000000000000002a", "j000000000000002g", "j+00000000000002a"] {
            let error = text.parse::<JobId>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
