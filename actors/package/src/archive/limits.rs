//! How much an archive may be.

/// See the module's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Files, folders and links, also folders that are only named in paths. Default 100,000.
    pub(crate) entries: usize,
    /// Bytes of all that is unpacked. Default 16 GiB.
    pub(crate) bytes: u64,
    /// How many times larger than the archive that may be, beyond `small_bytes`. Default 200.
    pub(crate) ratio: u64,
    /// So much is never too much for its archive: short texts may be compressed to nearly nothing. Default 256 MiB.
    pub(crate) small_bytes: u64,
    /// Bytes of a path. Default 1,024.
    pub(crate) path_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 16 << 30, ratio: 200, small_bytes: 256 << 20, path_bytes: 1_024 }
    }
}

/// Bytes of one part of a path: what file systems take.
pub(super) const NAME_BYTES: usize = 255;
