//! Steps that are functions: a user's own, or built-in ones. They run in executors, never in the worker; this module brings
//! rows to them and takes rows back.
//!
//! ```text
//!   plain      partition p of the input ─► microbatches ─► calls, a few at once ─► partition p, in order
//!
//!   whole      all partitions, in order ─► one call ─► one partition
//!
//!   spread     an input of one partition keeps its order, and still all workers have something to do:
//!              the one partition ─► number the microbatches ─► deal them out to n partitions
//!                                ─► calls ─► merge by number ─► one partition
//!
//!   needy      a stage of its own: exchange ─► partition p ─► calls ─► partition p, read as it is
//! ```
//!
//! A step that needs more than a slot is a stage of its own, whichever of these it is, so that no other work has what it needs.

mod batches;
mod exec;
mod in_order;
mod number;
mod place;
mod results;
mod runner;
mod sealed;
mod spec;
mod spread;
mod work;

pub use self::exec::FunctionExec;
pub(crate) use self::in_order::InOrderExec;
pub(crate) use self::number::NumberBatchesExec;
pub use self::place::function_plan;
pub(crate) use self::runner::Functions;
pub use self::runner::{FunctionCall, FunctionError, FunctionRunner, NoFunctions};
pub(crate) use self::sealed::SealedExec;
pub use self::spec::{DEFAULT_BATCH_ROWS, FunctionOrigin, FunctionSpec};
pub(crate) use self::spread::{SpreadExec, batch_number};
pub use self::work::{WorkDone, work_prefix};

#[cfg(test)]
mod tests;
