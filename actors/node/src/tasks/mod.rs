//! The tasks that processes of this worker submitted, wherever they run.

mod cancel;
mod demand;
mod finish;
mod leases;
mod place;
mod queue;
mod submit;
mod task;
mod unused;

pub(crate) use cancel::cancelled;
pub(crate) use finish::{MOST_REBUILDS, keeps};
pub(crate) use queue::{Queue, Shapes};
pub(crate) use submit::dependency;
pub(crate) use task::{Task, TaskEvent, TaskState, is_alone};

/// A shape that tasks of a job have, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShapeId(pub(crate) u32);
