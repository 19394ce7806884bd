//! Objects on disk: one file for each, its bytes and behind them a checksum. The node says what is written, read and removed, and when.
//! Owned by the desk; the work is done on threads that may block, a few at a time.
//! Invariant: of a write that failed nothing is left.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crc32fast::Hasher;
use tandem_actor_protocol::Location;
use tandem_arena::ExtentFile;
use tandem_node::{RestoreError, SpillFile};
use tokio::sync::Semaphore;
use tracing::warn;

/// Files that are written or read at once.
const AT_ONCE: usize = 4;
const CHUNK_BYTES: u64 = 1 << 20;
const CHECKSUM_BYTES: u64 = size_of::<u32>() as u64;

/// What a runtime has on disk, and what it has written and read there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpillStats {
    /// Objects on disk now.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of all objects that were written.
    pub written_bytes: u64,
    /// Bytes of all objects that were brought back.
    pub restored_bytes: u64,
}

/// The folder, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Spill {
    folder: Option<Arc<Path>>,
    counters: Arc<Counters>,
    permits: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Counters {
    objects: AtomicU64,
    bytes: AtomicU64,
    written_bytes: AtomicU64,
    restored_bytes: AtomicU64,
}

/// Half of what is free on the disk of a folder: the most that objects should take there where nothing else is said.
///
/// # Errors
/// When the system does not say.
pub fn half_of_free(folder: &Path) -> io::Result<u64> {
    let about = rustix::fs::statvfs(folder)?;
    Ok(about.f_bavail.saturating_mul(about.f_frsize) / 2)
}

impl Spill {
    /// Removes what is in the folder, and makes it if it is missing.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn open(folder: Option<&Path>) -> io::Result<Self> {
        if let Some(folder) = folder {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        Ok(Self { folder: folder.map(Arc::from), counters: Arc::default(), permits: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    pub(crate) fn stats(&self) -> SpillStats {
        let Counters { objects, bytes, written_bytes, restored_bytes } = &*self.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpillStats {
            objects: read(objects),
            bytes: read(bytes),
            written_bytes: read(written_bytes),
            restored_bytes: read(restored_bytes),
        }
    }

    /// Writes a range of an extent to a file.
    pub(crate) async fn write(self, file: SpillFile, extent: Arc<ExtentFile>, from: Location) -> Result<(), String> {
        let Some(path) = self.path(file) else { return Err("there is no folder for them".to_owned()) };
        self.aside(move |spill| spill.write_now(&path, &extent, from)).await.unwrap_or_else(Err)
    }

    /// Reads a file back into a range of an extent.
    pub(crate) async fn read(
        self,
        file: SpillFile,
        extent: Arc<ExtentFile>,
        into: Location,
    ) -> Result<(), RestoreError> {
        let damaged = |why: String| Err(RestoreError::Damaged(why));
        let Some(path) = self.path(file) else { return damaged("there is no folder for it".to_owned()) };
        self.aside(move |spill| spill.read_now(&path, &extent, into)).await.unwrap_or_else(damaged)
    }

    /// Removes a file. May block.
    pub(crate) fn remove(&self, file: SpillFile) {
        let Some(path) = self.path(file) else { return };
        let bytes = fs::metadata(&path).map_or(0, |about| about.len().saturating_sub(CHECKSUM_BYTES));
        self.counters.objects.fetch_sub(1, Ordering::Relaxed);
        self.counters.bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Err(error) = fs::remove_file(&path) {
            warn!(path = %path.display(), %error, "file of an object could not be removed");
        }
    }

    /// Removes all of it.
    pub(crate) fn close(&self) {
        if let Some(folder) = &self.folder
            && let Err(error) = fs::remove_dir_all(folder)
        {
            warn!(path = %folder.display(), %error, "folder of objects could not be removed");
        }
    }

    fn path(&self, SpillFile(number): SpillFile) -> Option<PathBuf> {
        Some(self.folder.as_deref()?.join(format!("{number}.object")))
    }

    /// Does what blocks, when it has its turn.
    async fn aside<T: Send + 'static>(self, work: impl FnOnce(Self) -> T + Send + 'static) -> Result<T, String> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| error.to_string())?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work(self);
            drop(permit);
            done
        });
        working.await.map_err(|error| error.to_string())
    }

    fn write_now(&self, path: &Path, extent: &ExtentFile, from: Location) -> Result<(), String> {
        if let Err(error) = write_file(path, extent, from) {
            // There may be none.
            let _ = fs::remove_file(path);
            let folder = path.parent().unwrap_or(path);
            warn!(folder = %folder.display(), bytes = from.length, %error, "an object could not be written to disk");
            return Err(format!("cannot write to {}: {error}", folder.display()));
        }
        let Counters { objects, bytes, written_bytes, .. } = &*self.counters;
        objects.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(from.length, Ordering::Relaxed);
        written_bytes.fetch_add(from.length, Ordering::Relaxed);
        Ok(())
    }

    fn read_now(&self, path: &Path, extent: &ExtentFile, into: Location) -> Result<(), RestoreError> {
        let read = read_file(path, extent, into);
        match &read {
            Ok(()) => _ = self.counters.restored_bytes.fetch_add(into.length, Ordering::Relaxed),
            Err(error) => warn!(path = %path.display(), ?error, "an object could not be brought back from disk"),
        }
        read
    }
}

fn write_file(path: &Path, extent: &ExtentFile, from: Location) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut checksum = Hasher::new();
    each_chunk(from.length, |at, bytes| {
        extent.read_at(bytes, from.offset + at)?;
        checksum.update(bytes);
        file.write_all(bytes)
    })?;
    file.write_all(&checksum.finalize().to_be_bytes())
}

fn read_file(path: &Path, extent: &ExtentFile, into: Location) -> Result<(), RestoreError> {
    let damaged = |why: &dyn std::fmt::Display| {
        RestoreError::Damaged(format!("an object cannot be read from {}: {why}", path.display()))
    };
    let mut file = File::open(path).map_err(|error| damaged(&error))?;
    let length = file.metadata().map_err(|error| damaged(&error))?.len();
    if length != into.length + CHECKSUM_BYTES {
        return Err(damaged(&format_args!("{length} bytes are there in place of {}", into.length + CHECKSUM_BYTES)));
    }
    let mut checksum = Hasher::new();
    each_chunk(into.length, |at, bytes| {
        file.read_exact(bytes).map_err(|error| damaged(&error))?;
        checksum.update(bytes);
        extent.write_at(bytes, into.offset + at).map_err(|error| RestoreError::NoMemory(error.to_string()))
    })?;
    let mut written = [0; CHECKSUM_BYTES as usize];
    file.read_exact(&mut written).map_err(|error| damaged(&error))?;
    if u32::from_be_bytes(written) != checksum.finalize() {
        return Err(damaged(&"its bytes are not those that were written"));
    }
    Ok(())
}

/// Goes through `length` bytes in chunks, with where each begins and memory for it.
fn each_chunk<E>(length: u64, mut work: impl FnMut(u64, &mut [u8]) -> Result<(), E>) -> Result<(), E> {
    let mut memory = vec![0; length.min(CHUNK_BYTES) as usize];
    let mut at = 0;
    while at < length {
        let chunk = (length - at).min(CHUNK_BYTES);
        work(at, &mut memory[..chunk as usize])?;
        at += chunk;
    }
    Ok(())
}
