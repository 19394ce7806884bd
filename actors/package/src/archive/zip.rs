//! Reads zip archives, as their central directories say.

use std::io::{Read, Seek};

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ZipArchive};

use super::error::{ArchiveError, Refusal};
use super::meter::Metered;
use super::unpacking::Unpacking;

/// The kind of a file in its mode.
const KIND: u32 = 0o170_000;
const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
/// More than a link may say.
const LONGEST_TARGET_BYTES: u64 = 1 << 16;

/// Brings all entries to where they go.
pub(super) fn read<R: Read + Seek>(file: R, unpacking: &mut Unpacking<'_>) -> Result<(), ArchiveError> {
    // No record is too large for it.
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let damaged = |unpacking: &Unpacking<'_>, error: rawzip::Error| unpacking.damaged(error.to_string());
    let archive = ZipArchive::from_seekable(file, &mut buffer).map_err(|error| damaged(unpacking, error))?;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(|error| damaged(unpacking, error))? {
        let name = entry.file_path().as_bytes();
        unpacking.begin(name);
        let refused = |refusal| Err(ArchiveError::refused(name, refusal));
        let mode = entry.mode().value();
        if entry.is_dir() || mode & KIND == FOLDER {
            unpacking.folder(name)?;
            continue;
        }
        if entry.flags().is_encrypted() {
            return refused(Refusal::Encrypted);
        }
        let found = archive.get_entry(entry.wayfinder()).map_err(|error| damaged(unpacking, error))?;
        let content: Box<dyn Read + '_> = match entry.compression_method() {
            CompressionMethod::STORE => Box::new(found.reader()),
            CompressionMethod::DEFLATE => Box::new(DeflateDecoder::new(found.reader())),
            other => return refused(Refusal::Method(other.as_u16())),
        };
        let mut content = found.verifying_reader(Metered::new(content, unpacking.meter()));
        match mode & KIND {
            FILE | 0 => unpacking.file(name, mode & 0o100 != 0, entry.uncompressed_size_hint(), &mut content)?,
            LINK => {
                let mut target = Vec::new();
                let read = content.take(LONGEST_TARGET_BYTES).read_to_end(&mut target);
                read.map_err(|error| unpacking.unreadable(&error))?;
                unpacking.symlink(name, &target)?;
            }
            _ => return refused(Refusal::Kind("no file, folder or link")),
        }
    }
    Ok(())
}
