//! The filesystem operations that publishing is made of, one by one, so that tests can cut publishing off after each.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A filesystem. Every method that changes something is one step.
pub(super) trait Disk {
    /// Size of the file at `path`, or 0 for a folder; none when nothing is there.
    fn size(&self, path: &Path) -> io::Result<Option<u64>> {
        match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Some(0)),
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether something is at `path`.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.size(path)?.is_some())
    }

    /// Creates a folder and those above it.
    fn create_folders(&self, path: &Path) -> io::Result<()>;

    /// Moves `from` to `to`, replacing a file that is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges what two names stand for in one step; false when the filesystem cannot.
    fn exchange(&self, a: &Path, b: &Path) -> io::Result<bool>;

    /// Writes a small file durably.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()>;

    /// Gives `path` the permissions of `model`.
    fn copy_permissions(&self, model: &Path, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder and all that is in it, if it is there.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
}

/// The system's filesystem.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_folders(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn exchange(&self, a: &Path, b: &Path) -> io::Result<bool> {
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(data)?;
        file.sync_all()
    }

    fn copy_permissions(&self, model: &Path, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::metadata(model)?.permissions())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
