//! An arena as one process sees it: the extents it has mapped, and the leases it builds objects in.
//! Shared by all threads of an executor. There is no count of our own: `Arc` keeps an extent mapped while anyone reads it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use crate::bump::Bump;
use crate::id::{ExtentId, ObjectId};
use crate::location::{ALIGNMENT, Lease, Location};
use crate::mapping::{Access, Mapping};
use crate::object::{self, Release};
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use crate::writer::{NoSpace, ObjectWriter};

/// Why an extent or a lease cannot be used here. The worker has sent something wrong.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The system refused, or the file is not fit to be mapped.
    #[error("cannot map {extent}: {source}")]
    Io {
        /// Which.
        extent: ExtentId,
        /// What the system said.
        source: io::Error,
    },
    /// It is mapped already, and may be written if that is what is wanted.
    #[error("{extent} is mapped already")]
    AlreadyMapped {
        /// Which.
        extent: ExtentId,
    },
    /// The lease is in an extent that is only read here: it was given up before the worker granted this, or ever.
    #[error("{extent} is only read here")]
    ReadOnly {
        /// Which.
        extent: ExtentId,
    },
    /// The lease is in no extent that is mapped, or not inside it, or not aligned.
    #[error("{lease:?} cannot be written here")]
    BadLease {
        /// The lease.
        lease: Lease,
    },
}

/// Why an object cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Its extent is not mapped: get the descriptor from the worker, map it, and try again.
    #[error("{extent} is not mapped")]
    NotMapped {
        /// Which.
        extent: ExtentId,
    },
    /// It is not inside its extent. The worker has sent something wrong.
    #[error("{location:?} is outside of its extent")]
    OutOfBounds {
        /// Where it should be.
        location: Location,
    },
}

/// The arena in this process.
/// Who holds both locks has taken that of the extents first.
pub struct MappedArena {
    extents: RwLock<HashMap<ExtentId, Mapped>>,
    bump: Mutex<Bump>,
    release: Arc<Release>,
}

/// An extent in this process.
#[derive(Debug)]
struct Mapped {
    mapping: Arc<Mapping>,
    /// What may be done there, which may be less than the memory allows.
    access: Access,
}

impl MappedArena {
    /// An arena with nothing mapped. `release` is called with each object that [`Self::read`] gave out, when its last clone is
    /// dropped, on the thread that drops it: it should put the object on a list and be done.
    ///
    /// # Safety
    /// All that this arena is told comes from the one worker that keeps its books with an
    /// [`Allocator`](crate::Allocator), and the processes that it has as writers build objects only with this type. So,
    /// as long as the arena or anything it gave out lives:
    /// - memory behind the extents is written by this process only where [`Self::add_lease`] says, and by other processes
    ///   only where nothing is leased to, or read by, this one;
    /// - what is leased holds no published object and is not leased a second time before it is given back;
    /// - what is read was published, and stays as it is until `release` was called for it.
    ///
    /// One job has one arena, so whoever breaks this breaks only its own data.
    pub unsafe fn new(release: impl Fn(ObjectId) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { extents: RwLock::default(), bump: Mutex::default(), release: Arc::new(release) })
    }

    /// Maps an extent of `bytes`. For writing it takes the writer's descriptor; the reader's is enough to read. One that is only
    /// read may be mapped again to be written: what was read there stays where it is.
    ///
    /// # Errors
    /// When it is mapped already, other than that, or the file is not what it should be.
    pub fn map(&self, extent: ExtentId, file: OwnedFd, bytes: u64, access: Access) -> Result<(), MapError> {
        let mapping = Mapping::of_file(&File::from(file), bytes, access);
        self.insert(extent, mapping.map_err(|source| MapError::Io { extent, source })?)
    }

    /// Forgets an extent. Its memory stays until all that was read or is built there is dropped.
    pub fn unmap(&self, extent: ExtentId) {
        let mapping = self.extents.write().unwrap_or_else(PoisonError::into_inner).remove(&extent);
        // Unmapping takes a while, so not under the lock.
        drop(mapping);
    }

    /// Adds memory to build objects in.
    ///
    /// # Errors
    /// When it is not memory that this process may write.
    pub fn add_lease(&self, lease: Lease) -> Result<(), MapError> {
        // Held until it is added, so that the extent is not given up in between.
        let extents = self.extents();
        let mapped = extents.get(&lease.extent).ok_or(MapError::BadLease { lease })?;
        let aligned = lease.offset.is_multiple_of(ALIGNMENT) && lease.bytes.is_multiple_of(ALIGNMENT);
        if !aligned || !mapped.mapping.holds(lease.offset, lease.bytes) {
            return Err(MapError::BadLease { lease });
        }
        if mapped.access == Access::Read {
            return Err(MapError::ReadOnly { extent: lease.extent });
        }
        self.bump().add(lease);
        Ok(())
    }

    /// Gets the pages of a lease from the system at once, which is cheaper than one by one when they are written.
    ///
    /// # Errors
    /// When there is not that much memory.
    pub fn populate(&self, lease: Lease) -> Result<(), MapError> {
        let mapping = self.mapping(lease.extent).ok_or(MapError::BadLease { lease })?;
        let populated = mapping.populate(lease.offset, lease.bytes);
        populated.map_err(|source| MapError::Io { extent: lease.extent, source })
    }

    /// Leases that have no room left for anything but scraps. The worker makes free what is not an object there.
    pub fn take_used_up(&self) -> Vec<Lease> {
        self.bump().take_used_up()
    }

    /// Ends all leases in `extent`, so that the worker may lease it to others; false while objects are built there, or were and
    /// are not published. It may be read as before.
    pub fn give_up(&self, extent: ExtentId) -> bool {
        let mut extents = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        let given_up = self.bump().take_extent(extent).is_some();
        if given_up && let Some(mapped) = extents.get_mut(&extent) {
            mapped.access = Access::Read;
        }
        given_up
    }

    /// Begins an object with room for `capacity` bytes.
    ///
    /// # Errors
    /// When no lease has so much room.
    pub fn create(self: &Arc<Self>, capacity: u64) -> Result<ObjectWriter, NoSpace> {
        let no_space = NoSpace { bytes: capacity };
        let reserved = self.bump().reserve(capacity).ok_or(no_space)?;
        let extents = self.extents();
        let mapped = extents.get(&reserved.extent).filter(|mapped| mapped.access == Access::Write);
        match mapped.map(|mapped| Arc::clone(&mapped.mapping)) {
            Some(mapping) => Ok(ObjectWriter::new(Arc::clone(self), mapping, reserved)),
            None => {
                // It was unmapped under its leases, and perhaps mapped again to be read; they are of no use.
                let mut bump = self.bump();
                bump.end(reserved, None);
                bump.take_extent(reserved.extent);
                Err(no_space)
            }
        }
    }

    /// Copies `bytes` into an object.
    ///
    /// # Errors
    /// When no lease has room.
    pub fn put(self: &Arc<Self>, bytes: &[u8]) -> Result<Location, NoSpace> {
        let mut writer = self.create(bytes.len() as u64)?;
        writer.append(bytes)?;
        Ok(writer.finish().location())
    }

    /// The object at `location`, in place and aligned to [`ALIGNMENT`]. It was published, and the worker has pinned it for
    /// this process, to be unpinned when it is released.
    ///
    /// # Errors
    /// When its extent is not mapped. It is not released then.
    pub fn read(&self, object: ObjectId, location: Location) -> Result<Bytes, ReadError> {
        let extent = location.extent;
        let mapping = self.mapping(extent).ok_or(ReadError::NotMapped { extent })?;
        if !mapping.holds(location.offset, location.length) {
            return Err(ReadError::OutOfBounds { location });
        }
        // SAFETY: published and pinned by what `new` was promised.
        Ok(unsafe { object::held(mapping, object, location, Arc::clone(&self.release)) })
    }

    pub(crate) fn bump(&self) -> MutexGuard<'_, Bump> {
        self.bump.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mapping(&self, extent: ExtentId) -> Option<Arc<Mapping>> {
        self.extents().get(&extent).map(|mapped| Arc::clone(&mapped.mapping))
    }

    fn extents(&self) -> RwLockReadGuard<'_, HashMap<ExtentId, Mapped>> {
        self.extents.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, extent: ExtentId, mapping: Mapping) -> Result<(), MapError> {
        let mut extents = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        let access = mapping.access();
        let becomes_writable = |known: &Mapped| (known.access, access) == (Access::Read, Access::Write);
        if extents.get(&extent).is_some_and(|known| !becomes_writable(known)) {
            return Err(MapError::AlreadyMapped { extent });
        }
        let before = extents.insert(extent, Mapped { mapping: Arc::new(mapping), access });
        drop(extents);
        // Unmapping takes a while, so not under the lock.
        drop(before);
        Ok(())
    }
}

impl std::fmt::Debug for MappedArena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MappedArena").field("extents", &self.extents).field("bump", &self.bump).finish_non_exhaustive()
    }
}
