//! An arena as one process sees it, on plain memory, so that Miri can follow every pointer.

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::mapping::Mapping;
use crate::{
    ALIGNMENT, ExtentId, Lease, LeaseId, Location, MapError, MappedArena, NoSpace, ObjectId, ObjectWriter, ReadError,
};

const EXTENT: ExtentId = ExtentId(3);

/// An arena with two leases of 4 KiB, and what it has released.
fn arena() -> (Arc<MappedArena>, Arc<Mutex<Vec<ObjectId>>>) {
    let released = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&released);
    // SAFETY: the tests read what they have put, once.
    let arena = unsafe { MappedArena::new(move |object| list.lock().expect("a list").push(object)) };
    arena.insert(EXTENT, Mapping::in_heap(16 << 10)).expect("a new extent");
    for offset in [0, 8 << 10] {
        arena.add_lease(Lease { id: LeaseId(offset), extent: EXTENT, offset, bytes: 4 << 10 }).expect("a lease inside");
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
    let wrong =
        [(EXTENT, 16 << 10, 64), (EXTENT, 32, 64), (EXTENT, 0, 65), (ExtentId(9), 0, 64), (EXTENT, u64::MAX - 63, 64)];
    for (extent, offset, bytes) in wrong {
        let refused = arena.add_lease(Lease { id: LeaseId(0), extent, offset, bytes });
        assert!(matches!(refused, Err(MapError::BadLease { .. })), "{extent} {offset} {bytes}");
    }
}
