//! What runs a query: planning sessions, cutting plans into stages, plans on the wire, sources, sinks, shuffle
//! operators, and the runner of one task.
//!
//! The coordinator uses the planning half, the worker the running half. Every call into `datafusion-proto` is in
//! [`codec`].

pub mod codec;
pub mod cutter;
pub mod error;
pub mod graph;
mod partition;
pub mod probe;
pub mod scope;
pub mod session;
pub mod shuffle;
pub mod sink;
pub mod source;
pub mod storage;
pub mod task;
