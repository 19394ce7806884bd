//! The packages that clients have uploaded, as files of the data folder, named by their SHA-256.
//!
//! ```text
//!   absent ─► HASH.part, continued at will ─► checked against hash and platform ─► HASH ─► removed when unused and over the quota
//! ```
//! Invariants: a file without `.part` is complete, synced and what its name says; nobody else may read the folder; a part has
//! one writer at a time.

mod error;
mod store;
#[cfg(test)]
mod tests;
mod upload;

use serde::Deserialize;

pub(crate) use error::PackageError;
pub(crate) use store::{PackageStore, Present};
pub(crate) use upload::Upload;

/// Section `[packages]`: how much of the disk packages may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackagesConfig {
    /// Bytes that one package may have. Default 2 GiB.
    pub limit_bytes: u64,
    /// Packages that no job needs are kept until all together take more than so many bytes. Default 8 GiB.
    pub quota_bytes: u64,
}

impl Default for PackagesConfig {
    fn default() -> Self {
        Self { limit_bytes: 2 << 30, quota_bytes: 8 << 30 }
    }
}
