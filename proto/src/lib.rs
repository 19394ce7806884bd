//! The conversations of a Tandem cluster as generated Rust types, and the ids they carry.
//!
//! Coordinator, worker and client meet only here. Generated types ([`v1`]) are converted at the edge of each role and
//! never stored; ids are newtypes, so that a worker is never mistaken for a job.

#[cfg(feature = "rpc")]
mod chunk;
#[cfg(feature = "rpc")]
#[doc(hidden)]
pub mod fuzz;
mod ids;
pub mod resources;
#[cfg(feature = "rpc")]
pub mod transport;

#[cfg(feature = "rpc")]
pub use chunk::{CHUNK_BYTES, chunks};
pub use ids::{Attempt, Epoch, JobId, LeaseId, ParseIdError, PartitionId, StageId, TaskId, Term, WorkerId};

#[cfg(feature = "rpc")]
/// Generated messages, clients and servers of the package `tandem.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod v1 {
    tonic::include_proto!("tandem.v1");
}

/// The version every process of a cluster must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
