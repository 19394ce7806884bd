//! The one file that holds what was spilled of one task output.
//! Invariants: bytes below `len` never change; a failed append leaves the file as it was; the last handle removes it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;
use tracing::warn;

use crate::budget::Budget;
use crate::error::StoreError;
use crate::spill_dir::SpillDir;

/// How much is encoded before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// A spill file; appended to by one spiller at a time, read by many.
#[derive(Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    len: AtomicU64,
    /// Open as long as somebody reads, so that files that nobody reads cost no descriptor.
    opened: Mutex<Weak<File>>,
    budget: Arc<Budget>,
    dir: Arc<SpillDir>,
}

/// Where one encoded batch lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileRange {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl SpillFile {
    /// A file that is made with the first append.
    pub(crate) fn new(dir: &Arc<SpillDir>, budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            path: dir.next_path(),
            len: AtomicU64::new(0),
            opened: Mutex::default(),
            budget: Arc::clone(budget),
            dir: Arc::clone(dir),
        })
    }

    /// Bytes written and committed.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Starts adding to the end of the file.
    pub(crate) fn append(self: &Arc<Self>) -> Result<Append, StoreError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.path);
        let file = file.map_err(|source| self.error("create spill file", source))?;
        let start = self.len();
        Ok(Append { spill: Arc::clone(self), file, start, written: start, buffer: Vec::new() })
    }

    /// Opens the file, or shares the handle of another reader.
    pub(crate) fn open(&self) -> io::Result<Arc<File>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = opened.upgrade() {
            return Ok(file);
        }
        let file = Arc::new(File::open(&self.path)?);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }

    fn error(&self, action: &'static str, source: io::Error) -> StoreError {
        StoreError::from_io(action, self.dir.path(), &self.path, source)
    }
}

impl Drop for SpillFile {
    /// Removing a large file takes a while, so async threads leave it to a blocking one. If that never runs, the
    /// file goes with its folder.
    fn drop(&mut self) {
        self.budget.remove_spilled(*self.len.get_mut());
        let path = std::mem::take(&mut self.path);
        let dir = Arc::clone(&self.dir);
        let remove = move || {
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                warn!(path = %path.display(), %error, "spill file could not be removed");
            }
            drop(dir);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// Bytes on their way to the end of a file. Dropped without [`Append::commit`], it takes them back.
#[derive(Debug)]
pub(crate) struct Append {
    spill: Arc<SpillFile>,
    file: File,
    start: u64,
    written: u64,
    buffer: Vec<u8>,
}

impl Append {
    /// Lets `encode` add bytes and says where they will lie.
    pub(crate) fn add<E: From<StoreError>>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<FileRange, E> {
        let offset = self.written + self.buffer.len() as u64;
        encode(&mut self.buffer)?;
        let end = self.written + self.buffer.len() as u64;
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(FileRange { offset, len: end - offset })
    }

    /// Makes all that was added part of the file.
    pub(crate) fn commit(mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.spill.budget.add_spilled(self.written - self.start);
        self.spill.len.store(self.written, Ordering::Release);
        self.start = self.written;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.file
            .write_all_at(&self.buffer, self.written)
            .map_err(|source| self.spill.error("write spill file", source))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        // After a commit this changes nothing. Where cutting fails too, the bytes lie beyond `len`, where no reader looks
        // and the next append writes.
        if let Err(error) = self.file.set_len(self.start) {
            warn!(path = %self.spill.path.display(), %error, "spill file could not be cut back");
        }
    }
}
