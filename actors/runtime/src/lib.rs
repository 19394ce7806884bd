//! The thin shell around the node of a worker: processes, links, shared memory, output and timers.
//! Owned by the worker; decides nothing that the node could.
//!
//! ```text
//!   worker ── RuntimeHandle ──▶ desk (one task, owns the node) ──▶ supervisors ──▶ processes, clients
//!      ▲                          │   ▲                               │
//!      └──────── Outside ─────────┘   └──── readers, printers ◀───────┘
//! ```
//!
//! Invariants: nothing that an executor does delays another one or takes memory without bound; a process that is gone has left
//! no other behind; nothing outlives the runtime: no process, no memory file, no folder.
#![deny(unsafe_code)]

mod arenas;
mod brain;
mod cgroup;
mod config;
mod desk;
mod executor;
mod folders;
mod function;
mod guest;
mod handle;
mod inbox;
mod outside;
mod peers;
mod place;
mod room;
mod spill;
mod sql;
mod watch;

pub use brain::Brain;
pub use cgroup::{NoCgroups, divisible_cgroup};
pub use config::RuntimeConfig;
pub use executor::LINE_BYTES;
pub use guest::DriverPort;
pub use handle::{Argument, Runtime, RuntimeHandle};
pub use outside::{JobProgram, LogLine, LogStream, News, Outside, SqlQuery};
pub use peers::{LentStats, PeerPort};
pub use place::Place;
pub use room::{Part, Room};
pub use spill::{SpillStats, half_of_free};
