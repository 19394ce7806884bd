//! Reads tar archives: plain headers (v7, ustar), and what GNU and POSIX (pax) extensions say of longer paths. What else these say, such as
//! owners and times, does not matter here.

use std::io::{self, Read};
use std::mem;

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::error::{ArchiveError, Refusal};
use super::meter::Metered;
use super::unpacking::Unpacking;

/// Bytes that a header which describes another one may have.
const EXTENSION_BYTES: u64 = 1 << 20;

/// What extensions say of the entry that comes next.
#[derive(Debug, Default)]
struct Said {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    sparse: bool,
}

/// Brings all entries to where they go, and reads the rest of the stream, so that its checksum is held against it.
pub(super) fn read<R: Read>(stream: R, unpacking: &mut Unpacking<'_>) -> Result<(), ArchiveError> {
    let mut archive = Archive::new(Metered::new(stream, unpacking.meter()));
    let mut said = Said::default();
    let entries = archive.entries().map_err(|error| unpacking.unreadable(&error))?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|error| unpacking.unreadable(&error))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => said.path = Some(long_text(&mut entry, unpacking)?),
            EntryType::GNULongLink => said.link = Some(long_text(&mut entry, unpacking)?),
            EntryType::XHeader => said.read(&extension(&mut entry, unpacking)?, unpacking)?,
            // Of no single entry; nothing in it would matter.
            EntryType::XGlobalHeader => _ = extension(&mut entry, unpacking)?,
            kind => place(&mut entry, kind, mem::take(&mut said), unpacking)?,
        }
    }
    let rest = io::copy(&mut archive.into_inner(), &mut io::sink());
    rest.map(|_| ()).map_err(|error| unpacking.unreadable(&error))
}

fn place<R: Read>(
    entry: &mut Entry<'_, R>,
    kind: EntryType,
    said: Said,
    unpacking: &mut Unpacking<'_>,
) -> Result<(), ArchiveError> {
    let header = entry.header().clone();
    let name = said.path.unwrap_or_else(|| header.path_bytes().into_owned());
    unpacking.begin(&name);
    let bytes = header.entry_size().map_err(|error| unpacking.unreadable(&error))?;
    if said.size.is_some_and(|size| size != bytes.to_string().as_bytes()) {
        return Err(ArchiveError::refused(&name, Refusal::TwoSizes));
    }
    let link = || said.link.or_else(|| header.link_name_bytes().map(|link| link.into_owned())).unwrap_or_default();
    let other = |kind| Err(ArchiveError::refused(&name, Refusal::Kind(kind)));
    match kind {
        _ if said.sparse => other("a sparse file"),
        // As folders were before there was a kind for them.
        EntryType::Regular if name.ends_with(b"/") => unpacking.folder(&name),
        EntryType::Regular | EntryType::Continuous => {
            let mode = header.mode().map_err(|error| unpacking.unreadable(&error))?;
            unpacking.file(&name, mode & 0o100 != 0, bytes, entry)
        }
        EntryType::Directory => unpacking.folder(&name),
        EntryType::Symlink => unpacking.symlink(&name, &link()),
        EntryType::Link => unpacking.hard_link(&name, &link()),
        EntryType::Char | EntryType::Block => other("a device"),
        EntryType::Fifo => other("a pipe"),
        EntryType::GNUSparse => other("a sparse file"),
        _ => other("of a kind of its own"),
    }
}

/// All of a header that describes another one.
fn extension<R: Read>(entry: &mut Entry<'_, R>, unpacking: &Unpacking<'_>) -> Result<Vec<u8>, ArchiveError> {
    let bytes = entry.header().entry_size().map_err(|error| unpacking.unreadable(&error))?;
    if bytes > EXTENSION_BYTES {
        let refusal = Refusal::LongHeader { limit_bytes: EXTENSION_BYTES };
        return Err(ArchiveError::refused(&entry.header().path_bytes(), refusal));
    }
    let mut all = Vec::new();
    entry.read_to_end(&mut all).map_err(|error| unpacking.unreadable(&error))?;
    if (all.len() as u64) < bytes {
        return Err(unpacking.damaged("it ends in a header".to_owned()));
    }
    Ok(all)
}

/// A text that ends with its first zero.
fn long_text<R: Read>(entry: &mut Entry<'_, R>, unpacking: &Unpacking<'_>) -> Result<Vec<u8>, ArchiveError> {
    let mut text = extension(entry, unpacking)?;
    let end = memchr::memchr(0, &text).unwrap_or(text.len());
    text.truncate(end);
    Ok(text)
}

impl Said {
    fn read(&mut self, header: &[u8], unpacking: &Unpacking<'_>) -> Result<(), ArchiveError> {
        for extension in PaxExtensions::new(header) {
            let extension = extension.map_err(|error| unpacking.unreadable(&error))?;
            let value = || Some(extension.value_bytes().to_vec());
            match extension.key_bytes() {
                b"path" => self.path = value(),
                b"linkpath" => self.link = value(),
                b"size" => self.size = value(),
                key => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}
