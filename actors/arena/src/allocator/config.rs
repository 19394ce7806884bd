//! Sizes of an arena.

/// How an arena takes memory.
#[derive(Debug, Clone, Copy)]
pub struct ArenaConfig {
    /// Bytes of an extent, unless one object needs more. Default 64 MiB.
    pub extent_bytes: u64,
    /// Bytes of all extents together. Default 1 GiB.
    pub quota_bytes: u64,
    /// Bytes that a lease should have at least; smaller free spans are left alone while there are others. Default 1 MiB.
    pub min_lease_bytes: u64,
    /// Bytes that a lease for small objects has at most. Default 64 MiB.
    pub max_lease_bytes: u64,
    /// Objects at once. Each takes a few hundred bytes in the books, whatever its size. Default 1,048,576.
    pub max_objects: usize,
}

impl Default for ArenaConfig {
    fn default() -> Self {
        Self {
            extent_bytes: 64 << 20,
            quota_bytes: 1 << 30,
            min_lease_bytes: 1 << 20,
            max_lease_bytes: 64 << 20,
            max_objects: 1 << 20,
        }
    }
}
