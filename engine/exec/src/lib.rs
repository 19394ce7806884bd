//! What runs a query: planning sessions, cutting plans into stages, plans on the wire, sources, sinks, shuffle
//! operators, and the runner of one task.
//!
//! The coordinator uses the planning half, the worker the running half. Every call into `datafusion-proto` is in
//! [`codec`].

pub mod adaptive;
pub mod codec;
pub mod cutter;
mod divide;
mod early_joins;
pub mod error;
mod first_rows;
pub mod function;
mod fuse;
#[doc(hidden)]
pub mod fuzz;
pub mod hidden;
pub mod nesting;
mod paced;
mod partition;
mod plan;
mod prefilter;
pub mod probe;
pub mod scope;
pub mod session;
pub mod shuffle;
pub mod sink;
pub mod source;
pub mod sql_functions;
mod stop;
pub mod storage;
pub mod task;
mod ties;
mod windows;
