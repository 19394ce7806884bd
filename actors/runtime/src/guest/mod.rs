//! Guests: drivers that run at their clients, and are executors to the node all the same. A task here stands in for the process,
//! on the other end of the link that a process would have.
//!
//! ```text
//!   client ══stream══▶ DriverPort ─▶ guest ──link──▶ desk, node
//!                                      └─ files of the job's arena
//! ```
//!
//! Invariants: a client writes only into room that was leased to its guest; whatever it sends or does not read ends its own
//! driver and nothing else, and takes no more memory here than the limits of a link.

mod frames;
mod memory;
mod port;
mod relay;
mod supervisor;

pub use port::DriverPort;
pub(crate) use port::{Visit, Visits};
pub(crate) use supervisor::{Guest, STUCK_GRACE};
