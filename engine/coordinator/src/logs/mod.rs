//! What the processes of jobs said, as files of the data folder: one per job, which outlive the workers.
//!
//! ```text
//!   worker ──batch──▶ store's thread ─► appended within the job's quota ─► acknowledged ─► removed when the job is forgotten
//!                          └──extent──▶ readers, who read the file up to it
//! ```
//! Invariants: only the store's thread writes; a line of a worker is in a file at most once, by its number; what does not fit is
//! counted.

mod file;
mod store;
#[cfg(test)]
mod tests;

use serde::Deserialize;

pub(crate) use file::{Extent, START};
pub(crate) use store::LogStore;

/// Section `[logs]`: how much of the disk the lines of jobs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// Bytes that the lines of one job may take; newer ones are dropped and counted. Default 64 MiB.
    pub quota_bytes: u64,
}

impl Default for LogsConfig {
    fn default() -> Self {
        Self { quota_bytes: 64 << 20 }
    }
}
