//! An arena as one process sees it: the extents it has mapped, and the leases it builds objects in.
//! Shared by all threads of an executor. There is no count of our own: `Arc` keeps an extent mapped while anyone reads it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use crate::bump::Bump;
use crate::id::{ExtentId, ObjectId};
use crate::location::{ALIGNMENT, Lease, Location};
use crate::mapping::{Access, Mapping};
use crate::object::{self, Release};
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
pub struct MappedArena {
    extents: RwLock<HashMap<ExtentId, Mapped>>,
    bump: Mutex<Bump>,
    release: Arc<Release>,
}

/// An extent in this process.
#[derive(Debug, Clone)]
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
        let mapped = self.mapped(lease.extent).ok_or(MapError::BadLease { lease })?;
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
        match self.mapping(reserved.extent) {
            Some(mapping) => Ok(ObjectWriter::new(Arc::clone(self), mapping, reserved)),
            None => {
                // It was unmapped under its leases; they are of no use.
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
        self.mapped(extent).map(|mapped| mapped.mapping)
    }

    fn mapped(&self, extent: ExtentId) -> Option<Mapped> {
        self.extents.read().unwrap_or_else(PoisonError::into_inner).get(&extent).cloned()
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::id::LeaseId;

    const EXTENT: ExtentId = ExtentId(3);

    /// An arena with two leases of 4 KiB, and what it has released.
    fn arena() -> (Arc<MappedArena>, Arc<Mutex<Vec<ObjectId>>>) {
        let released = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&released);
        // SAFETY: the tests read what they have put, once.
        let arena = unsafe { MappedArena::new(move |object| list.lock().expect("a list").push(object)) };
        arena.insert(EXTENT, Mapping::in_heap(16 << 10)).expect("a new extent");
        for offset in [0, 8 << 10] {
            arena
                .add_lease(Lease { id: LeaseId(offset), extent: EXTENT, offset, bytes: 4 << 10 })
                .expect("a lease inside");
        }
        (arena, released)
    }

    #[test]
    fn objects_are_built_in_place_and_read_where_they_are() {
        let (arena, released) = arena();
        let mut building: Vec<ObjectWriter> = (0..4).map(|_| arena.create(10).expect("room")).collect();
        for round in 0..40 {
            for (i, writer) in building.iter_mut().enumerate() {
                writer.write_all(&[i as u8; 10]).expect("room");
                assert_eq!(writer.len(), 10 * (round + 1), "writer {i}");
            }
        }
        let locations: Vec<Location> = building.into_iter().map(|writer| writer.finish().location()).collect();
        let objects: Vec<Bytes> = (0_u128..)
            .zip(&locations)
            .map(|(i, location)| arena.read(ObjectId(i), *location).expect("it is mapped"))
            .collect();
        arena.unmap(EXTENT);
        for (i, object) in objects.iter().enumerate() {
            assert_eq!(object.as_ref(), [i as u8; 400]);
            assert_eq!(object.as_ptr() as u64 % ALIGNMENT, 0);
        }
        assert_eq!(arena.read(ObjectId(0), locations[0]), Err(ReadError::NotMapped { extent: EXTENT }));
        let clone = objects[1].slice(5..7);
        drop(objects);
        assert_eq!(*released.lock().expect("a list"), [0, 2, 3].map(ObjectId));
        assert_eq!(clone.as_ref(), [1, 1]);
        drop(clone);
        assert_eq!(*released.lock().expect("a list"), [0, 2, 3, 1].map(ObjectId));
    }

    #[test]
    fn space_of_what_is_dropped_or_too_much_is_used_again() {
        let (arena, _) = arena();
        let first = arena.create(4_000).expect("room");
        drop(first);
        let mut second = arena.create(4_096).expect("the same room");
        assert_eq!(second.append(&[0; 5_000]), Err(NoSpace { bytes: 5_000 }));
        second.append(b"little").expect("room");
        assert_eq!(second.finish().location(), Location { extent: EXTENT, offset: 8 << 10, length: 6 });
        assert_eq!(arena.put(&[]).expect("room"), Location { extent: EXTENT, offset: (8 << 10) + 64, length: 0 });
        assert_eq!(arena.put(b"x").expect("room").offset, (8 << 10) + 128);
        assert_eq!(arena.create(4_096).map(|writer| writer.capacity()).ok(), Some(4_096), "the other lease");
        assert!(arena.create(4_097).is_err());
    }

    #[test]
    fn an_extent_is_given_up_when_nothing_is_built_there_or_unpublished() {
        let (arena, _) = arena();
        let writer = arena.create(1).expect("room");
        assert!(!arena.give_up(EXTENT));
        drop(writer);
        let mut writer = arena.create(5).expect("room");
        writer.append(b"value").expect("room");
        let finished = writer.finish();
        assert!(!arena.give_up(EXTENT), "nobody knows of the object");
        let location = finished.location();
        drop(finished);
        assert!(arena.give_up(EXTENT));
        assert!(arena.create(1).is_err());
        assert_eq!(arena.read(ObjectId(1), location).expect("it is mapped").as_ref(), b"value");
    }

    #[test]
    fn room_granted_in_an_extent_that_was_given_up_is_none() {
        let (arena, _) = arena();
        let lease = Lease { id: LeaseId(7), extent: EXTENT, offset: 4 << 10, bytes: 4 << 10 };
        assert!(arena.give_up(EXTENT));
        assert!(matches!(arena.add_lease(lease), Err(MapError::ReadOnly { extent: EXTENT })));
        arena.insert(EXTENT, Mapping::in_heap(16 << 10)).expect("to be written again");
        arena.add_lease(lease).expect("it may be written");
        assert_eq!(arena.put(b"x").expect("room").offset, 4 << 10);
    }

    #[test]
    fn many_threads_put_and_read() {
        let (arena, released) = arena();
        let threads: Vec<_> = (0..4_u8)
            .map(|i| {
                let arena = Arc::clone(&arena);
                std::thread::spawn(move || {
                    for _ in 0..10 {
                        let location = arena.put(&[i; 70]).expect("room");
                        let object = arena.read(ObjectId(i.into()), location).expect("it is mapped");
                        assert_eq!(object.as_ref(), [i; 70]);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a thread that did not fail"));
        assert_eq!(released.lock().expect("a list").len(), 40);
    }

    #[test]
    fn leases_that_cannot_be_written_are_refused() {
        let (arena, _) = arena();
        let wrong = [
            (EXTENT, 16 << 10, 64),
            (EXTENT, 32, 64),
            (EXTENT, 0, 65),
            (ExtentId(9), 0, 64),
            (EXTENT, u64::MAX - 63, 64),
        ];
        for (extent, offset, bytes) in wrong {
            let refused = arena.add_lease(Lease { id: LeaseId(0), extent, offset, bytes });
            assert!(matches!(refused, Err(MapError::BadLease { .. })), "{extent} {offset} {bytes}");
        }
    }
}
