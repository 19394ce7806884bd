//! The tasks that processes of this worker submitted, wherever they run.

mod cancel;
mod demand;
mod finish;
mod leases;
mod place;
mod queue;
mod streams;
mod submit;
mod task;
mod unused;
mod wanted;

pub(crate) use cancel::cancelled;
pub(crate) use finish::{MOST_REBUILDS, keeps};
pub(crate) use queue::{Queue, Shapes};
pub(crate) use streams::Streams;
pub(crate) use submit::dependency;
pub(crate) use task::{Task, TaskEvent, TaskState, is_alone};
pub(crate) use wanted::Wanted;

/// A shape that tasks of a job have, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShapeId(pub(crate) u32);
