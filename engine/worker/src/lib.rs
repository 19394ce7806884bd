//! The worker: runs stage tasks on its own threads, keeps what they put out, and serves it to peers and clients.
//!
//! ```text
//!   coordinator ◀─ attach ─▶ control ─▶ runner ─▶ exec ─▶ store ◀─ data_server ─▶ peers, clients
//!                              state (pure)        └─ fetch ─▶ peers
//! ```
//!
//! It knows nothing of jobs beyond what runs and what is held, and decides nothing that the coordinator could.

mod actors;
mod attach;
mod config;
mod control;
mod coordinator;
mod data_server;
mod error;
mod fetch;
mod http;
mod memory;
mod metrics;
mod process;
mod runner;
mod stages;
mod state;
mod status;
mod worker;

pub use config::{MIN_MEMORY_BYTES, WorkerConfig};
pub use error::WorkerError;
pub use tandem_runtime::divisible_cgroup;
pub use worker::{Addresses, Worker};
