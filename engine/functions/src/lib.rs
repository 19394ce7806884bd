//! The functions that come with the binary: batches and JSON arguments in, batches out. Nothing here knows of jobs, workers or
//! executors; the planner asks for columns, executors make the calls.

mod columns;
mod error;
mod registry;
mod sales;
mod text;
mod work;

pub use self::error::CallError;
pub use self::registry::{BuiltIn, ENTRY, all, find};
pub use self::work::{Amount, Work};
