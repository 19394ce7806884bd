//! Places in an arena, as plain data that travels in messages.

use serde::{Deserialize, Serialize};

use crate::id::{ExtentId, LeaseId, ObjectId};

/// Bytes that every object starts at a multiple of: what Arrow likes best, and a cache line.
pub const ALIGNMENT: u64 = 64;

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Location {
    /// The extent it is in.
    pub extent: ExtentId,
    /// Its first byte there.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// What an executor says when an object is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The object.
    pub object: ObjectId,
    /// Where it is.
    pub location: Location,
}

/// Memory that its writer may build objects in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// Which one.
    pub id: LeaseId,
    /// The extent it is in.
    pub extent: ExtentId,
    /// Its first byte there, a multiple of [`ALIGNMENT`].
    pub offset: u64,
    /// Its length in bytes, a multiple of [`ALIGNMENT`].
    pub bytes: u64,
}

/// Bytes that an object of `length` takes; none if there is no such number.
pub(crate) fn padded(length: u64) -> Option<u64> {
    length.max(1).checked_next_multiple_of(ALIGNMENT)
}
