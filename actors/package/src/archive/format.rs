//! Which archive it is, as its first bytes say: names are given by people, and lost on the way.

use std::io::{self, Read, Seek};

/// Where the magic number of a tar archive is.
const TAR_MAGIC_AT: usize = 257;
const TAR_MAGIC: &[u8] = b"ustar";

/// What can be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Zip,
    Tar,
    /// A tar archive in gzip.
    Gzip,
    /// A tar archive in zstd.
    Zstd,
}

impl Format {
    /// Reads the beginning, and goes back to it.
    pub(super) fn of<R: Read + Seek>(archive: &mut R) -> io::Result<Option<Self>> {
        archive.rewind()?;
        let mut head = Vec::new();
        archive.by_ref().take((TAR_MAGIC_AT + TAR_MAGIC.len()) as u64).read_to_end(&mut head)?;
        archive.rewind()?;
        let known = [
            (Self::Zip, 0, b"PK\x03\x04".as_slice()),
            // Without entries.
            (Self::Zip, 0, b"PK\x05\x06"),
            (Self::Gzip, 0, b"\x1f\x8b"),
            (Self::Zstd, 0, b"\x28\xb5\x2f\xfd"),
            (Self::Tar, TAR_MAGIC_AT, TAR_MAGIC),
        ];
        let found = known.iter().find(|(_, at, magic)| head.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        Ok(found.map(|(format, ..)| *format))
    }
}
