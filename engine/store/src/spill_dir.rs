//! The folder of one store's spill files, and the removal of folders whose owner died.
//! Invariant: the owner holds the lock of its folder's lock file as long as it lives; only a folder whose lock can be taken is removed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

use crate::error::StoreError;

const PREFIX: &str = "store-";
const LOCK_FILE: &str = "owner.lock";

/// A folder that this process owns and removes when the last user of it is gone.
#[derive(Debug)]
pub struct SpillDir {
    path: PathBuf,
    next_file: AtomicU64,
    /// Locked for as long as this is open.
    _lock: File,
}

impl SpillDir {
    /// Removes what dead stores left under `parent` and makes a folder of our own there.
    pub fn open(parent: &Path) -> Result<Self, StoreError> {
        let refused = |action| move |source| StoreError::from_io(action, parent, parent, source);
        fs::create_dir_all(parent).map_err(refused("create spill folder"))?;
        remove_dead(parent).map_err(refused("clean spill folder"))?;
        let (path, lock) = claim(parent).map_err(refused("create a spill folder in"))?;
        Ok(Self { path, next_file: AtomicU64::new(0), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file path that was not given out before.
    pub(crate) fn next_path(&self) -> PathBuf {
        self.path.join(format!("{}.spill", self.next_file.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            warn!(path = %self.path.display(), %error, "spill folder could not be removed");
        }
    }
}

/// Makes a folder and takes its lock. A cleaner that sees the folder before it is locked may remove it; then this tries the
/// next name.
fn claim(parent: &Path) -> io::Result<(PathBuf, File)> {
    for number in 0_u64.. {
        let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        if let Some(lock) = lock(&path.join(LOCK_FILE))? {
            return Ok((path, lock));
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes and locks a lock file; none when a cleaner was faster.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let in_place = fs::metadata(path).is_ok_and(|found| file.metadata().is_ok_and(|ours| ours.ino() == found.ino()));
    Ok(in_place.then_some(file))
}

fn remove_dead(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        match owner_is_dead(&path).and_then(|dead| if dead { remove(&path) } else { Ok(()) }) {
            Ok(()) => {}
            // Another user's folder, or another cleaner at work on it: not ours to insist on.
            Err(error) => warn!(path = %path.display(), %error, "old spill folder could not be removed"),
        }
    }
    Ok(())
}

fn owner_is_dead(dir: &Path) -> io::Result<bool> {
    let file = match File::open(dir.join(LOCK_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {
            info!(path = %dir.display(), "removing the spill folder of a dead worker");
            Ok(true)
        }
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_owners_left_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let alive = SpillDir::open(parent.path()).unwrap();
        fs::write(alive.next_path(), b"in use").unwrap();
        let killed = parent.path().join("store-1-0");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join(LOCK_FILE), b"").unwrap();
        fs::write(killed.join("0.spill"), b"left").unwrap();
        let half_made = parent.path().join("store-2-0");
        fs::create_dir(&half_made).unwrap();
        let foreign = parent.path().join("something else");
        fs::create_dir(&foreign).unwrap();

        let second = SpillDir::open(parent.path()).unwrap();

        assert_ne!(alive.path(), second.path());
        assert!(alive.path().join("0.spill").exists());
        assert!(!killed.exists() && !half_made.exists() && foreign.exists());
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists() && alive.path().exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = SpillDir::open(&file.join("spill")).unwrap_err();
        assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    }
}
