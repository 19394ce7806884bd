//! The packages that clients have uploaded, and the files attached to them, each kind in a folder, named by their SHA-256.
//!
//! ```text
//!   absent ─► HASH.part, continued at will ─► checked against hash, packages against platform ─► HASH ─► removed when unused and over the quota
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
pub(crate) use store::{Content, PackageStore, Present};
pub(crate) use upload::Upload;

/// Section `[packages]`: how much of the disk packages may take, and attached files beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackagesConfig {
    /// Bytes that one of them may have. Default 2 GiB.
    pub limit_bytes: u64,
    /// Those that no job needs are kept until all of a kind together take more than so many bytes. Default 8 GiB.
    pub quota_bytes: u64,
}

impl Default for PackagesConfig {
    fn default() -> Self {
        Self { limit_bytes: 2 << 30, quota_bytes: 8 << 30 }
    }
}
