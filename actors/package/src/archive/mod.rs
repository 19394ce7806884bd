//! Archives that are attached to jobs and unpacked on workers. They may be hostile: what is in them stays within one folder, takes no more
//! room than the limits say, and is nothing but files, folders and links among these. What breaks a rule is refused with all of its archive.
//!
//! ```text
//!   bytes ── format ──▶ zip, or (decompressed) tar ── entries ──▶ contents (the rules) ──▶ destination (a folder, or nowhere)
//! ```
//!
//! Invariants: the same way is gone when an archive is only checked; a folder is there when all of its archive is in it, and not before.

mod contents;
mod destination;
mod error;
mod format;
mod limits;
mod meter;
mod tarball;
#[cfg(test)]
mod tests;
mod unpacking;
mod zip;

use std::fs::{self, DirBuilder, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use destination::{Folder, Nowhere};
use format::Format;
use meter::Meter;
use unpacking::Unpacking;

pub(crate) use destination::Destination;
pub use error::{ArchiveError, Refusal};
pub(crate) use limits::Limits;

/// Whether an archive can be unpacked. All of it is read.
///
/// # Errors
/// When it cannot be.
pub fn check_archive(archive: &Path) -> Result<(), ArchiveError> {
    let file = File::open(archive).map_err(ArchiveError::Unreadable)?;
    read(file, Limits::default(), &mut Nowhere).map(|_| ())
}

/// Unpacks an archive into a new folder, which is not there before all is in it. Returns how many bytes the archive has when it is
/// unpacked.
///
/// # Errors
/// When it cannot be unpacked. Nothing of it is left then.
pub fn unpack(archive: &Path, folder: &Path) -> Result<u64, ArchiveError> {
    let file = File::open(archive).map_err(ArchiveError::Unreadable)?;
    let part = folder.with_added_extension("part");
    let made = |source| ArchiveError::Folder { source };
    DirBuilder::new().mode(0o700).create(&part).map_err(made)?;
    let unpacked = read(file, Limits::default(), &mut Folder::new(&part));
    let named = unpacked.and_then(|bytes| fs::rename(&part, folder).map(|()| bytes).map_err(made));
    if named.is_err() {
        // Why it was not unpacked says more than why the rest of it cannot be removed.
        let _ = fs::remove_dir_all(&part);
    }
    named
}

/// Brings what is in an archive to its destination, and tells how many bytes that were.
pub(crate) fn read<R: Read + Seek>(
    mut archive: R,
    limits: Limits,
    destination: &mut dyn Destination,
) -> Result<u64, ArchiveError> {
    let archive_bytes = archive.seek(SeekFrom::End(0)).map_err(ArchiveError::Unreadable)?;
    let format = Format::of(&mut archive).map_err(ArchiveError::Unreadable)?.ok_or(ArchiveError::NoArchive)?;
    let meter = Meter::new(&limits, archive_bytes);
    let mut unpacking = Unpacking::new(&limits, &meter, destination);
    match format {
        Format::Zip => zip::read(archive, &mut unpacking)?,
        Format::Tar => tarball::read(BufReader::new(archive), &mut unpacking)?,
        Format::Gzip => tarball::read(MultiGzDecoder::new(BufReader::new(archive)), &mut unpacking)?,
        Format::Zstd => {
            let decoder = zstd::Decoder::new(archive).map_err(ArchiveError::Unreadable)?;
            tarball::read(decoder, &mut unpacking)?;
        }
    }
    Ok(meter.taken_bytes())
}
