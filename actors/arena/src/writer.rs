//! Builds one object in place.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::bump::Reserved;
use crate::location::Location;
use crate::mapped::MappedArena;
use crate::mapping::Mapping;

/// The leases have no room: ask the worker for one of so many bytes, add it, and try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no lease has room for an object of {bytes} bytes")]
pub struct NoSpace {
    /// What the object needs.
    pub bytes: u64,
}

/// An object that is not published yet. Dropped unfinished, it gives its space back.
pub struct ObjectWriter {
    arena: Arc<MappedArena>,
    mapping: Arc<Mapping>,
    reserved: Reserved,
    length: u64,
    /// Bytes that stay reserved when this is dropped, for the object that they are.
    kept: Option<u64>,
}

impl ObjectWriter {
    pub(crate) fn new(arena: Arc<MappedArena>, mapping: Arc<Mapping>, reserved: Reserved) -> Self {
        Self { arena, mapping, reserved, length: 0, kept: None }
    }

    /// Bytes of the object so far.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes it may have before it must grow.
    pub fn capacity(&self) -> u64 {
        self.reserved.bytes
    }

    /// The object so far.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: what is reserved is this writer's alone: no other reservation overlaps it, nothing in it is published, and
        // no other process writes this extent. The slice borrows the writer mutably.
        unsafe { self.mapping.slice_mut(self.reserved.offset, self.length) }
    }

    /// Makes the object `length` bytes long. New bytes are what some object of the same job had there before, or zeros.
    ///
    /// # Errors
    /// When no lease has room. The object is as before.
    pub fn resize(&mut self, length: u64) -> Result<(), NoSpace> {
        if length > self.reserved.bytes && !self.arena.bump().grow(&mut self.reserved, length) {
            self.move_to(length)?;
        }
        self.length = length;
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// When no lease has room. The object is as before.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoSpace> {
        let start = self.length;
        self.resize(start + bytes.len() as u64)?;
        self.as_mut_slice()[start as usize..].copy_from_slice(bytes);
        Ok(())
    }

    /// Ends the object. To be published: until then its extent is not given up.
    pub fn finish(mut self) -> FinishedObject {
        self.kept = Some(self.length);
        self.arena.bump().trim(&mut self.reserved, self.length);
        FinishedObject(self)
    }

    /// Copies the object to where there is more room, twice the length so that it seldom happens.
    fn move_to(&mut self, length: u64) -> Result<(), NoSpace> {
        let doubled = length.max(self.reserved.bytes.saturating_mul(2));
        let created = self.arena.create(doubled).or_else(|_| self.arena.create(length));
        let mut to = created.map_err(|_| NoSpace { bytes: length })?;
        to.length = self.length;
        to.as_mut_slice().copy_from_slice(self.as_mut_slice());
        std::mem::swap(self, &mut to);
        Ok(())
    }
}

/// An object that nobody knows of yet, to be kept until it is published.
#[derive(Debug)]
pub struct FinishedObject(ObjectWriter);

impl FinishedObject {
    /// Where it is.
    pub fn location(&self) -> Location {
        let Self(ObjectWriter { reserved, length, .. }) = self;
        Location { extent: reserved.extent, offset: reserved.offset, length: *length }
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        self.arena.bump().end(self.reserved, self.kept);
    }
}

impl io::Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(|error| io::Error::new(io::ErrorKind::StorageFull, error))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reserved, length, .. } = self;
        f.debug_struct("ObjectWriter").field("reserved", reserved).field("length", length).finish_non_exhaustive()
    }
}
