//! Objects on disk: one file for each. The node says what is written, read and removed, and when.
//! Owned by the desk; the work is done on threads that may block, a few at a time.
//! Invariants: of a write that failed nothing is left; no byte is passed on whose chunk does not have its checksum.
//!
//!   the object's bytes, in chunks of [`CHUNK_BYTES`] │ a checksum (u32, big endian) of each chunk

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
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

    /// Opens a file that has an object of `length` bytes, to read it in parts.
    pub(crate) async fn open_object(self, file: SpillFile, length: u64) -> Result<ObjectFile, String> {
        let path = self.path(file).ok_or_else(|| "there is no folder for it".to_owned())?;
        self.aside(move |_| ObjectFile::open(&path, length).inspect_err(|why| unreadable(why))).await.flatten()
    }

    /// Reads what is at the begin of `range`, to the end of its chunk at most.
    pub(crate) async fn read_some(self, object: Arc<ObjectFile>, range: Range<u64>) -> Result<Bytes, String> {
        self.aside(move |_| object.read_some(range).inspect_err(|why| unreadable(why))).await.flatten()
    }

    /// Removes a file. May block.
    pub(crate) fn remove(&self, file: SpillFile) {
        let Some(path) = self.path(file) else { return };
        let bytes = fs::metadata(&path).map_or(0, |about| object_bytes(about.len()));
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
            Err(RestoreError::Damaged(why)) => unreadable(why),
            Err(RestoreError::NoMemory(why)) => {
                warn!(path = %path.display(), why, "an object could not be brought back")
            }
        }
        read
    }
}

/// An object in its file, which is read chunk by chunk.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    file: File,
    path: PathBuf,
    length: u64,
    checksums: Vec<u8>,
}

impl ObjectFile {
    /// # Errors
    /// Why it cannot be read, in words that name the file; as of all that reads it.
    fn open(path: &Path, length: u64) -> Result<Self, String> {
        let refused = |error: io::Error| damaged(path, &error);
        let file = File::open(path).map_err(refused)?;
        let (found, expected) = (file.metadata().map_err(refused)?.len(), file_bytes(length));
        if found != expected {
            return Err(damaged(path, &format_args!("{found} bytes are there in place of {expected}")));
        }
        let mut checksums = vec![0; (expected - length) as usize];
        file.read_exact_at(&mut checksums, length).map_err(refused)?;
        Ok(Self { file, path: path.to_owned(), length, checksums })
    }

    /// Reads the chunk that begins at `start` into the begin of `memory`, and returns how long it is.
    fn read_chunk(&self, start: u64, memory: &mut [u8]) -> Result<usize, String> {
        let length = (self.length - start).min(CHUNK_BYTES) as usize;
        let bytes = &mut memory[..length];
        self.file.read_exact_at(bytes, start).map_err(|error| damaged(&self.path, &error))?;
        let at = (start / CHUNK_BYTES) as usize * CHECKSUM_BYTES as usize;
        let written = &self.checksums[at..at + CHECKSUM_BYTES as usize];
        if written != crc32fast::hash(bytes).to_be_bytes() {
            return Err(damaged(&self.path, &"its bytes are not those that were written"));
        }
        Ok(length)
    }

    /// What is at the begin of `range`, to the end of its chunk at most.
    fn read_some(&self, range: Range<u64>) -> Result<Bytes, String> {
        let end = range.end.min(self.length);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let start = range.start - range.start % CHUNK_BYTES;
        let mut memory = vec![0; (self.length - start).min(CHUNK_BYTES) as usize];
        let read = self.read_chunk(start, &mut memory)? as u64;
        let (from, to) = (range.start - start, (end - start).min(read));
        Ok(Bytes::from(memory).slice(from as usize..to as usize))
    }
}

fn unreadable(why: &str) {
    warn!(why, "an object on disk is lost");
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> String {
    format!("an object cannot be read from {}: {why}", path.display())
}

/// The size of the file of an object.
fn file_bytes(length: u64) -> u64 {
    length + length.div_ceil(CHUNK_BYTES) * CHECKSUM_BYTES
}

/// The opposite of [`file_bytes`].
fn object_bytes(file_bytes: u64) -> u64 {
    let chunks = file_bytes.div_ceil(CHUNK_BYTES + CHECKSUM_BYTES);
    file_bytes.saturating_sub(chunks * CHECKSUM_BYTES)
}

fn write_file(path: &Path, extent: &ExtentFile, from: Location) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut checksums = Vec::new();
    let mut memory = chunk_memory(from.length);
    for start in chunks(from.length) {
        let bytes = &mut memory[..(from.length - start).min(CHUNK_BYTES) as usize];
        extent.read_at(bytes, from.offset + start)?;
        checksums.extend(crc32fast::hash(bytes).to_be_bytes());
        file.write_all(bytes)?;
    }
    file.write_all(&checksums)
}

fn read_file(path: &Path, extent: &ExtentFile, into: Location) -> Result<(), RestoreError> {
    let object = ObjectFile::open(path, into.length).map_err(RestoreError::Damaged)?;
    let mut memory = chunk_memory(into.length);
    for start in chunks(into.length) {
        let length = object.read_chunk(start, &mut memory).map_err(RestoreError::Damaged)?;
        let written = extent.write_at(&memory[..length], into.offset + start);
        written.map_err(|error| RestoreError::NoMemory(error.to_string()))?;
    }
    Ok(())
}

/// Where the chunks of an object begin.
fn chunks(length: u64) -> impl Iterator<Item = u64> {
    (0..length).step_by(CHUNK_BYTES as usize)
}

fn chunk_memory(length: u64) -> Vec<u8> {
    vec![0; length.min(CHUNK_BYTES) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_file_says_that_of_its_object() {
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES, 5 * CHUNK_BYTES + 7] {
            assert_eq!(object_bytes(file_bytes(length)), length);
        }
    }
}
