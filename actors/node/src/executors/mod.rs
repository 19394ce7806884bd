//! The processes of a job on this worker.

mod cause;
mod driver;
mod executor;
mod gone;
mod pool;

pub(crate) use driver::Driver;
pub(crate) use executor::{Executor, ExecutorState, Fate, Purpose, Was};
pub(crate) use pool::Class;

/// Processes that can take each other's place, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClassId(pub(crate) u32);
