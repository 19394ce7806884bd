//! Threads that build and read objects while extents come and go, in each order in which they may take the locks. The files are
//! those of the crate, over the locks of a model checker and over memory that notes who uses it.
#![cfg(not(miri))]
#![allow(dead_code, unreachable_pub, reason = "the files are a crate's, of which these tests use a part")]

#[path = "../../src/bump.rs"]
mod bump;
#[path = "../../src/id.rs"]
mod id;
#[path = "../../src/location.rs"]
mod location;
#[path = "../../src/mapped.rs"]
mod mapped;
mod mapping;
#[path = "../../src/object.rs"]
mod object;
mod sync;
#[path = "../../src/writer.rs"]
mod writer;

use std::sync::Arc;

use id::{ExtentId, LeaseId, ObjectId};
use location::{Lease, Location};
use loom::thread;
use mapped::MappedArena;
use mapping::{Access, Mapping, Memory};
use sync::Mutex;

const EXTENT: ExtentId = ExtentId(1);
const BYTES: u64 = 512;
const LEASE: Lease = Lease { id: LeaseId(1), extent: EXTENT, offset: 0, bytes: BYTES };

/// An arena that may write all of one extent, and has leases there.
fn arena(leases: &[Lease]) -> (Arc<MappedArena>, Arc<Memory>) {
    let memory = Memory::new(BYTES);
    // SAFETY: the tests read only what they have put, and nobody writes what they read; or else the memory notes it.
    let arena = unsafe { MappedArena::new(|_| {}) };
    arena.insert(EXTENT, Mapping::new(&memory, Access::Write)).expect("a new extent");
    leases.iter().for_each(|lease| arena.add_lease(*lease).expect("a lease inside"));
    (arena, memory)
}

#[test]
fn no_lease_stays_in_an_extent_that_is_given_up() {
    loom::model(|| {
        let (arena, memory) = arena(&[]);
        let link = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || arena.add_lease(LEASE).is_ok())
        };
        assert!(arena.give_up(EXTENT), "nothing is built there");
        // Another process has it from now on.
        memory.overwrite(0, BYTES);
        let leased = link.join().expect("no panic");
        assert!(arena.create(1).is_err(), "an object would be built there, and it was leased: {leased}");
    });
}

#[test]
fn what_is_built_in_an_extent_is_known_before_another_process_writes_there() {
    loom::model(|| {
        let (arena, memory) = arena(&[LEASE]);
        let published = Arc::new(Mutex::new(None));
        let builder = {
            let (arena, published) = (Arc::clone(&arena), Arc::clone(&published));
            thread::spawn(move || {
                let Ok(mut writer) = arena.create(3) else { return };
                writer.append(b"abc").expect("room");
                let finished = writer.finish();
                *published.lock().expect("no panic") = Some(finished.location());
            })
        };
        if arena.give_up(EXTENT) {
            // The worker keeps what it has heard of, and lets another process write elsewhere.
            let known = *published.lock().expect("no panic");
            let free = known.map_or(0, |Location { offset, length, .. }| offset + length.next_multiple_of(64));
            memory.overwrite(free, BYTES - free);
        }
        builder.join().expect("no panic");
        let known = *published.lock().expect("no panic");
        if let Some(location) = known {
            assert_eq!(arena.read(ObjectId(1), location).expect("it is mapped").as_ref(), b"abc");
        }
    });
}

#[test]
fn threads_build_beside_each_other() {
    loom::model(|| {
        let (arena, _) = arena(&[LEASE]);
        let other = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || arena.put(&[2; 65]).expect("room"))
        };
        let mut writer = arena.create(60).expect("room");
        writer.append(&[1; 60]).expect("room");
        // Grows where it is, or moves behind what the other thread has reserved.
        writer.append(&[1; 60]).expect("room");
        let own = writer.finish().location();
        let other = other.join().expect("no panic");
        for (location, content) in [(own, &[1; 120][..]), (other, &[2; 65])] {
            assert_eq!(arena.read(ObjectId(1), location).expect("it is mapped").as_ref(), content);
        }
        assert!(arena.give_up(EXTENT), "nothing is built any more");
    });
}

#[test]
fn an_extent_may_be_unmapped_and_mapped_to_be_read_while_an_object_begins_there() {
    loom::model(|| {
        let (arena, memory) = arena(&[LEASE]);
        let builder = {
            let arena = Arc::clone(&arena);
            thread::spawn(move || arena.put(b"abc").ok())
        };
        arena.unmap(EXTENT);
        arena.insert(EXTENT, Mapping::new(&memory, Access::Read)).expect("it is not mapped");
        let built = builder.join().expect("no panic");
        if let Some(location) = built {
            assert_eq!(arena.read(ObjectId(1), location).expect("it is mapped").as_ref(), b"abc");
        }
        assert!(arena.create(1).is_err(), "it is only read now");
    });
}
