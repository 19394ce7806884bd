//! The folder of packages: what is there, what is missing, and what may go.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tandem_package::{Needs, PackageHash, Platform, Unfit};
use tracing::{info, warn};

use super::PackagesConfig;
use super::error::PackageError;
use super::upload::Upload;

/// How names of parts end.
const PART: &str = "part";
/// A part that nobody has continued for so long is removed.
const PART_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What the files of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Executables that can run here.
    Packages,
    /// Files that go with them, which may be anything.
    Attached,
}

/// All packages, or attached files, of one coordinator.
#[derive(Debug)]
pub(crate) struct PackageStore {
    folder: PathBuf,
    content: Content,
    config: PackagesConfig,
    platform: Platform,
    /// Those that are being uploaded.
    busy: Arc<Mutex<HashSet<PackageHash>>>,
}

/// What of a package is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    /// All of it, so many bytes.
    Whole(u64),
    /// Its first bytes.
    Part(u64),
}

/// The right to write one part. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Turn {
    hash: PackageHash,
    busy: Arc<Mutex<HashSet<PackageHash>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hash);
    }
}

impl PackageStore {
    /// Those in `folder`, which is created when missing.
    pub(crate) fn open(folder: PathBuf, content: Content, config: PackagesConfig) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        Ok(Self { folder, content, config, platform: Platform::current(), busy: Arc::default() })
    }

    /// What of a package is there. One that is asked for is not collected soon.
    pub(crate) fn stat(&self, hash: PackageHash) -> Result<Present, PackageError> {
        let whole = self.path(hash);
        let length = |path: &Path| match fs::metadata(path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PackageError::io(hash, error)),
        };
        if let Some(bytes) = length(&whole)? {
            touch(&whole);
            return Ok(Present::Whole(bytes));
        }
        Ok(Present::Part(length(&self.part(hash))?.unwrap_or_default()))
    }

    /// Whether one of this size, and of these needs, could be here.
    pub(crate) fn check(&self, hash: PackageHash, bytes: u64, needs: Option<&Needs>) -> Result<(), PackageError> {
        self.check_size(hash, bytes)?;
        let fit = needs.map_or(Ok(()), |needs| self.platform.check(needs));
        fit.map_err(|unfit| PackageError::Unfit { hash, unfit })
    }

    fn check_size(&self, hash: PackageHash, bytes: u64) -> Result<(), PackageError> {
        let limit_bytes = self.config.limit_bytes;
        match self.content {
            _ if bytes <= limit_bytes => Ok(()),
            Content::Packages => Err(PackageError::Unfit { hash, unfit: Unfit::TooLarge { bytes, limit_bytes } }),
            Content::Attached => Err(PackageError::TooLarge { hash, bytes, limit_bytes }),
        }
    }

    /// Begins or continues an upload of `bytes` in all at `offset`, where the part that is there ends, or before.
    pub(crate) fn upload(&self, hash: PackageHash, bytes: u64, offset: u64) -> Result<Upload, PackageError> {
        let turn = self.take_turn(hash)?;
        self.check_size(hash, bytes)?;
        let io = |error| PackageError::io(hash, error);
        let part = self.part(hash);
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let file = options.open(&part).map_err(io)?;
        let present = file.metadata().map_err(io)?.len();
        if offset > present {
            return Err(PackageError::Gap { hash, offset, expected: present });
        }
        file.set_len(offset).map_err(io)?;
        Ok(Upload::new(turn, hash, file, part, self.path(hash), (offset, bytes)))
    }

    /// Checks what an upload has brought, and makes it a package.
    pub(crate) fn finish(&self, upload: Upload) -> Result<u64, PackageError> {
        let platform = (self.content == Content::Packages).then_some(&self.platform);
        upload.finish(platform, self.config.limit_bytes)
    }

    /// Opens a package for reading.
    pub(crate) fn read(&self, hash: PackageHash) -> Result<File, PackageError> {
        File::open(self.path(hash)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PackageError::Absent(hash),
            _ => PackageError::io(hash, error),
        })
    }

    /// Removes packages that are not in `needed`, those first that nobody has asked for the longest, until the rest is within the
    /// quota; and parts that nobody continues.
    pub(crate) fn collect(&self, needed: &HashSet<PackageHash>) {
        let mut unused = Vec::new();
        let mut total = 0;
        for (path, bytes, used) in self.files() {
            let hash = path.file_stem().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            let is_part = path.extension().is_some_and(|extension| extension == PART);
            let age = SystemTime::now().duration_since(used).unwrap_or_default();
            match hash {
                Some(_) if is_part && age <= PART_KEPT => {}
                Some(hash) if is_part && self.is_busy(hash) => {}
                Some(hash) if !is_part => {
                    total += bytes;
                    if !needed.contains(&hash) {
                        unused.push((used, path, bytes));
                    }
                }
                // A part that was left, or what is none of ours: nothing else is put here.
                Some(_) | None => remove(&path),
            }
        }
        unused.sort();
        for (_, path, bytes) in unused {
            if total <= self.config.quota_bytes {
                return;
            }
            total -= bytes;
            info!(package = %path.display(), "removing a package that no job needs");
            remove(&path);
        }
    }

    /// Every file with its size and when it was last used.
    fn files(&self) -> Vec<(PathBuf, u64, SystemTime)> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                warn!(folder = %self.folder.display(), %error, "the packages cannot be listed");
                return Vec::new();
            }
        };
        let file = |entry: fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()?))
        };
        entries.flatten().filter_map(file).collect()
    }

    fn is_busy(&self, hash: PackageHash) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
    }

    fn take_turn(&self, hash: PackageHash) -> Result<Turn, PackageError> {
        let new = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        if new { Ok(Turn { hash, busy: self.busy.clone() }) } else { Err(PackageError::Busy(hash)) }
    }

    fn path(&self, hash: PackageHash) -> PathBuf {
        self.folder.join(hash.to_string())
    }

    fn part(&self, hash: PackageHash) -> PathBuf {
        self.folder.join(format!("{hash}.{PART}"))
    }
}

/// Its time tells when it was last used. One that cannot be set makes it look older than it is, no more.
fn touch(path: &Path) {
    let touched = File::open(path).and_then(|file| file.set_times(FileTimes::new().set_modified(SystemTime::now())));
    if let Err(error) = touched {
        warn!(package = %path.display(), %error, "the use of a package cannot be noted");
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        warn!(file = %path.display(), %error, "a package cannot be removed");
    }
}
