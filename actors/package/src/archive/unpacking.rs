//! One archive on its way: each entry is held against the rules and goes to its destination.

use std::io::{self, Read};

use super::contents::{Contents, Kind};
use super::destination::Destination;
use super::error::{ArchiveError, EntryName, Position, Refusal};
use super::limits::Limits;
use super::meter::Meter;

/// See the module's header.
pub(super) struct Unpacking<'a> {
    contents: Contents,
    meter: &'a Meter,
    destination: &'a mut dyn Destination,
    /// The last entry that was begun.
    position: Position,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(limits: &Limits, meter: &'a Meter, destination: &'a mut dyn Destination) -> Self {
        Self { contents: Contents::new(limits), meter, destination, position: Position::Beginning }
    }

    /// What counts the bytes that come out of the archive.
    pub(super) fn meter(&self) -> &'a Meter {
        self.meter
    }

    /// From here on what goes wrong is about this entry.
    pub(super) fn begin(&mut self, name: &[u8]) {
        self.position = Position::Entry(EntryName::new(name));
    }

    pub(super) fn folder(&mut self, name: &[u8]) -> Result<(), ArchiveError> {
        match self.contents.add(name, Kind::Folder)? {
            Some(path) => self.destination.folder(&path).map_err(|source| unwritable(name, source)),
            None => Ok(()),
        }
    }

    /// A file of so many bytes.
    pub(super) fn file(
        &mut self,
        name: &[u8],
        executable: bool,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        let path = self.path(name, Kind::File)?;
        let mut content = Content { inner: content, failed: false };
        match self.destination.file(&path, executable, &mut content) {
            Ok(written) if written == bytes => Ok(()),
            Ok(written) => Err(self.damaged(format!("{written} of its {bytes} bytes are there"))),
            Err(error) if content.failed => Err(self.unreadable(&error)),
            Err(source) => Err(unwritable(name, source)),
        }
    }

    pub(super) fn symlink(&mut self, name: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        let path = self.path(name, Kind::Link)?;
        let target = self.contents.symlink_target(&path, target).map_err(|why| ArchiveError::refused(name, why))?;
        self.destination.symlink(&path, &target).map_err(|source| unwritable(name, source))
    }

    pub(super) fn hard_link(&mut self, name: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
        let target = self.contents.hard_link_target(target).map_err(|why| ArchiveError::refused(name, why))?;
        let path = self.path(name, Kind::File)?;
        self.destination.hard_link(&path, &target).map_err(|source| unwritable(name, source))
    }

    /// What came out of the archive could not be read on: it is damaged, or more than it may be.
    pub(super) fn unreadable(&self, error: &io::Error) -> ArchiveError {
        match self.meter.exceeded() {
            Some((limit_bytes, archive_bytes)) => {
                ArchiveError::TooLarge { at: self.position.clone(), limit_bytes, archive_bytes }
            }
            None => self.damaged(error.to_string()),
        }
    }

    /// It is not as archives are.
    pub(super) fn damaged(&self, reason: String) -> ArchiveError {
        ArchiveError::Damaged { at: self.position.clone(), reason }
    }

    fn path(&mut self, name: &[u8], kind: Kind) -> Result<String, ArchiveError> {
        let path = self.contents.add(name, kind)?;
        path.ok_or_else(|| ArchiveError::refused(name, Refusal::Nameless))
    }
}

impl ArchiveError {
    pub(super) fn refused(name: &[u8], refusal: Refusal) -> Self {
        Self::Refused { entry: EntryName::new(name), refusal }
    }
}

fn unwritable(name: &[u8], source: io::Error) -> ArchiveError {
    ArchiveError::Unwritable { entry: EntryName::new(name), source }
}

/// Tells an error of the archive from one of the destination.
struct Content<'a> {
    inner: &'a mut dyn Read,
    failed: bool,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.failed |= read.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        read
    }
}
