//! The coordinator's data folder: one owner at a time, readable by its user only.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::JournalError;

/// A folder this process owns until the value is dropped.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    // The lock is the open file's; the system frees it however the process ends.
    _lock: File,
}

impl DataFolder {
    /// Creates the folder when it is missing and takes it.
    pub(super) fn lock(path: &Path) -> Result<Self, JournalError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| JournalError::io(path, source))?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|source| JournalError::io(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Locked { path: path.to_owned(), pid: read_pid(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(JournalError::io(&lock_path, source)),
        }
        write_pid(&mut lock).map_err(|source| JournalError::io(&lock_path, source))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Makes the names of new files last.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| JournalError::io(&self.path, source))
    }

    /// The database.
    pub(super) fn journal(&self) -> PathBuf {
        self.path.join("journal.redb")
    }

    /// The key that secrets are sealed with.
    pub(super) fn key(&self) -> PathBuf {
        self.path.join("secrets.key")
    }
}

fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}
