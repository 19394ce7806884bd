//! The coordinator: decides what runs where, and never touches data.
//!
//! [`tandem_scheduler`] is the whole of the cluster as a pure state machine; `journal` is what survives a restart; `server`
//! turns RPCs and timers into events and performs the actions that come out. [`Coordinator`] puts them together.

mod clock;
mod config;
mod coordinator;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod journal;
mod logs;
mod metrics;
mod packages;
mod process;
mod server;
mod wire;

pub use config::{CoordinatorConfig, DEFAULT_HTTP_PORT, DEFAULT_PORT, TlsFiles};
pub use coordinator::{Addresses, Coordinator, run};
pub use error::CoordinatorError;
pub use journal::JournalError;
pub use logs::LogsConfig;
pub use packages::PackagesConfig;
pub use tandem_scheduler::ClusterConfig;
