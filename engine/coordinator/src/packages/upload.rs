//! One upload: bytes in order into a part, and the check that makes it a package.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tandem_package::{Package, PackageHash, Platform};

use super::error::PackageError;
use super::store::Turn;

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct Upload {
    hash: PackageHash,
    file: File,
    part: PathBuf,
    whole: PathBuf,
    /// Where the next byte goes, and how many there will be.
    next: u64,
    bytes: u64,
    _turn: Turn,
}

impl Upload {
    pub(super) fn new(
        turn: Turn,
        hash: PackageHash,
        file: File,
        part: PathBuf,
        whole: PathBuf,
        (next, bytes): (u64, u64),
    ) -> Self {
        Self { hash, file, part, whole, next, bytes, _turn: turn }
    }

    /// Whether all of it has come.
    pub(crate) fn is_complete(&self) -> bool {
        self.next == self.bytes
    }

    /// Writes what comes next.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), PackageError> {
        if offset != self.next {
            return Err(PackageError::Gap { hash: self.hash, offset, expected: self.next });
        }
        if data.len() as u64 > self.bytes - self.next {
            return Err(PackageError::Malformed("an upload has more bytes than it said"));
        }
        let written = self.file.seek(SeekFrom::Start(offset)).and_then(|_| self.file.write_all(data));
        written.map_err(|error| PackageError::io(self.hash, error))?;
        self.next += data.len() as u64;
        Ok(())
    }

    /// Makes it whole if it is what it is called, and can run where it is said to. Otherwise nothing of it is left.
    pub(super) fn finish(self, platform: Option<&Platform>, limit_bytes: u64) -> Result<u64, PackageError> {
        let checked = self.check(platform, limit_bytes);
        if checked.is_err() {
            // What cannot be used must not be continued.
            let _ = fs::remove_file(&self.part);
        }
        checked?;
        let io = |error| PackageError::io(self.hash, error);
        self.file.sync_all().map_err(io)?;
        fs::rename(&self.part, &self.whole).map_err(io)?;
        sync_folder(&self.whole).map_err(io)?;
        Ok(self.bytes)
    }

    fn check(&self, platform: Option<&Platform>, limit_bytes: u64) -> Result<(), PackageError> {
        let unfit = |unfit| PackageError::Unfit { hash: self.hash, unfit };
        let Some(platform) = platform else {
            let found = PackageHash::of_file(&self.part).map_err(|error| PackageError::io(self.hash, error))?;
            return self.check_hash(found);
        };
        let package = Package::read(&self.part, limit_bytes).map_err(unfit)?;
        self.check_hash(package.hash)?;
        platform.check(&package.needs).map_err(unfit)
    }

    fn check_hash(&self, found: PackageHash) -> Result<(), PackageError> {
        let hash = self.hash;
        if found == hash { Ok(()) } else { Err(PackageError::Mismatch { hash, found }) }
    }
}

fn sync_folder(file: &Path) -> std::io::Result<()> {
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
