//! What an arena refuses, split by what the worker does next.

use crate::id::{ExtentId, Holder, ObjectId};
use crate::location::Location;

/// Why nothing was leased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// There is no room now: give back free extents with `shrink` and have writers give up theirs, spill objects, or wait.
    #[error("no room for {bytes} bytes in an arena of {quota_bytes}")]
    Full {
        /// What was asked for.
        bytes: u64,
        /// The limit of the arena.
        quota_bytes: u64,
    },
    /// It would not fit into an empty arena: fail what needs it.
    #[error("{bytes} bytes are more than an arena of {quota_bytes} can hold")]
    TooLarge {
        /// What was asked for.
        bytes: u64,
        /// The limit of the arena.
        quota_bytes: u64,
    },
}

/// Why what an executor said about memory is not believed. It is broken or hostile: end its process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// There is no such extent.
    #[error("there is no {extent}")]
    NoSuchExtent {
        /// The extent that was named.
        extent: ExtentId,
    },
    /// The extent is written by someone else.
    #[error("{writer} does not write {extent}")]
    NotTheWriter {
        /// The extent that was named.
        extent: ExtentId,
        /// Who named it.
        writer: Holder,
    },
    /// The range is not inside the extent.
    #[error("{length} bytes at {offset} are not inside {extent}")]
    OutOfBounds {
        /// The extent that was named.
        extent: ExtentId,
        /// The first byte.
        offset: u64,
        /// How many there are.
        length: u64,
    },
    /// The range is not aligned, or not all in one lease: free, or another object, or given back.
    #[error("{location:?} is not all leased to its writer, or not aligned")]
    NotLeased {
        /// What was named.
        location: Location,
    },
    /// The arena has as many objects as its books may have: fail what made so many.
    #[error("an arena has at most {limit} objects")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
    /// There is another object of that name.
    #[error("{object} is at {known:?} already")]
    Duplicate {
        /// The name.
        object: ObjectId,
        /// Where that one is.
        known: Location,
    },
}

/// Why an object was not pinned or unpinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It is gone or never was here: get it elsewhere or make it again.
    #[error("{object} is not in this arena")]
    NotFound {
        /// What was asked for.
        object: ObjectId,
    },
    /// The holder has given back more than it had. It is broken or hostile.
    #[error("{object} is not pinned by {holder}")]
    NotPinned {
        /// What was given back.
        object: ObjectId,
        /// By whom.
        holder: Holder,
    },
}
