//! The shuffle store of one worker: keeps what map tasks put out until the stages that read it are done.
//! Owned by the worker; writers and readers are the shuffle operators and the data port.
//! Invariants: output is visible to readers only as a whole; every byte in memory is charged to the worker's memory
//! pool and every byte in a file is counted; nothing of an abandoned or dropped output stays in memory or on disk.
//!
//!   push ─► gather ─► compact ─► memory ──budget spent──► spill file ─┐
//!          (small batches)         └──────────────────────────────────┴─► read, read_ipc

mod budget;
mod cursor;
mod error;
mod gather;
mod ipc_reader;
mod key;
mod output;
mod reader;
mod spill_dir;
mod spill_file;
mod store;
mod table;
mod writer;

pub use error::StoreError;
pub use ipc_reader::IpcReader;
pub use key::OutputKey;
pub use reader::OutputReader;
pub use spill_dir::SpillDir;
pub use store::{ShuffleStore, StoreConfig, StoreStats};
pub use tandem_ipc::BodyCompression;
pub use writer::{OutputSummary, OutputWriter};
