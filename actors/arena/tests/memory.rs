//! Extents between processes' views: what a reader can and cannot do, and how much stays open.
#![cfg(not(miri))]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_buffer::{Buffer, ScalarBuffer};
use tandem_arena::allocator::Leased;
use tandem_arena::{
    Access, Allocator, ArenaConfig, ExecutorId, ExtentFile, ExtentId, Holder, Lease, LeaseId, Location, MapError,
    MappedArena, ObjectId, Published,
};

const EXTENT: ExtentId = ExtentId(0);
const BYTES: u64 = 2 << 20;

fn mapped() -> Arc<MappedArena> {
    // SAFETY: each test keeps its own books and reads only what is finished.
    unsafe { MappedArena::new(|_| {}) }
}

#[test]
fn what_one_process_puts_another_reads_in_place() {
    let executor = Holder::Executor(ExecutorId(1));
    let mut allocator = Allocator::new(ArenaConfig::default());
    let Leased { lease, new_extent_bytes } = allocator.lease(executor, 100).expect("room");
    let file = ExtentFile::create(new_extent_bytes.expect("the first extent")).expect("memory");

    let writer = mapped();
    writer.map(lease.extent, file.for_writer().expect("a file"), file.bytes(), Access::Write).expect("an extent");
    writer.add_lease(lease).expect("a lease");
    writer.populate(lease).expect("memory");
    let mut object = writer.create(80).expect("room");
    for i in 0..1_000_i64 {
        object.write_all(&i.to_le_bytes()).expect("room");
    }
    let object = object.finish();
    let (id, location) = (ObjectId(7), object.location());
    allocator.publish(executor, Published { object: id, location }).expect("its own lease");
    drop(object);

    let released = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&released);
    // SAFETY: as in `mapped`.
    let reader = unsafe { MappedArena::new(move |object| _ = count.fetch_add(object.0 as u64, Ordering::Relaxed)) };
    reader.map(lease.extent, file.for_reader().expect("a file"), file.bytes(), Access::Read).expect("an extent");
    let bytes = reader.read(id, allocator.pin(Holder::Executor(ExecutorId(2)), id).expect("it is there"));
    let column = ScalarBuffer::<i64>::from(Buffer::from(bytes.expect("it is mapped")));
    assert!(column.iter().copied().eq(0..1_000));
    drop(reader);
    assert_eq!(released.load(Ordering::Relaxed), 0);
    drop(column);
    assert_eq!(released.load(Ordering::Relaxed), 7);

    let mut copy = [0; 8];
    file.read_at(&mut copy, location.offset + 8).expect("inside");
    assert_eq!(i64::from_le_bytes(copy), 1);
}

#[test]
fn a_reader_cannot_map_or_write_what_it_reads() {
    let file = ExtentFile::create(BYTES).expect("memory");
    let arena = mapped();
    let refused = arena.map(EXTENT, file.for_reader().expect("a file"), BYTES, Access::Write);
    let Err(MapError::Io { source, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::PermissionDenied);
    let reader = File::from(file.for_reader().expect("a file"));
    assert!(reader.write_at(b"x", 0).is_err());
    assert!(reader.set_len(0).is_err());
    arena.map(EXTENT, reader.into(), BYTES, Access::Read).expect("an extent");
    let lease = Lease { id: LeaseId(0), extent: EXTENT, offset: 0, bytes: 64 };
    assert!(matches!(arena.add_lease(lease), Err(MapError::ReadOnly { .. })), "a lease in an extent to read");
    assert!(arena.populate(lease).is_err());
}

/// A process of another user that has the reader's descriptor tries to open the file behind it for writing.
#[test]
fn another_user_cannot_open_the_readers_descriptor_for_writing() {
    if rustix::process::geteuid().as_raw() != 0 {
        return println!("skipped: only root can run a process as another user");
    }
    let file = ExtentFile::create(BYTES).expect("memory");
    let open = |descriptor: OwnedFd, script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::from(descriptor)).stderr(Stdio::null());
        command.uid(65_534).gid(65_534).status().expect("a shell").success()
    };
    assert!(open(file.for_reader().expect("a file"), "exec 4<&0"));
    assert!(!open(file.for_reader().expect("a file"), "exec 4<>/proc/self/fd/0"));
    assert!(!open(file.for_writer().expect("a file"), "exec 4<>/proc/self/fd/0"));
}

#[test]
fn an_extent_keeps_its_size_and_takes_pages_when_they_are_written() {
    let file = ExtentFile::create(BYTES).expect("memory");
    let writer = File::from(file.for_writer().expect("a file"));
    assert!(writer.set_len(BYTES - 1).is_err());
    assert!(writer.set_len(BYTES + 1).is_err());
    let blocks = || std::os::unix::fs::MetadataExt::blocks(&writer.metadata().expect("its size")) * 512;
    assert_eq!(blocks(), 0);
    file.write_at(&[1; 100_000], 50_000).expect("room");
    assert!((100_000..BYTES).contains(&blocks()));
    let mut read = [9; 2];
    file.read_at(&mut read, 49_999).expect("inside");
    assert_eq!(read, [0, 1]);
    assert!(file.write_at(b"x", BYTES).is_err());
}

#[test]
fn only_files_that_keep_their_size_are_mapped() {
    let arena = mapped();
    let mut plain = tempfile::tempfile().expect("a file");
    plain.write_all(&[0; 4_096]).expect("room");
    let refused = arena.map(EXTENT, plain.into(), 4_096, Access::Read);
    assert!(matches!(refused, Err(MapError::Io { .. })), "{refused:?}");
    let file = ExtentFile::create(BYTES).expect("memory");
    let refused = arena.map(EXTENT, file.for_reader().expect("a file"), 2 * BYTES, Access::Read);
    assert!(matches!(refused, Err(MapError::Io { .. })), "{refused:?}");
    arena.map(EXTENT, file.for_reader().expect("a file"), BYTES, Access::Read).expect("an extent");
    let refused = arena.map(EXTENT, file.for_reader().expect("a file"), BYTES, Access::Read);
    assert!(matches!(refused, Err(MapError::AlreadyMapped { .. })), "{refused:?}");
    let outside = Location { extent: EXTENT, offset: BYTES - 63, length: 64 };
    assert!(arena.read(ObjectId(1), outside).is_err());
}

#[test]
fn who_has_read_in_an_extent_may_write_there_later() {
    let file = ExtentFile::create(BYTES).expect("memory");
    file.write_at(b"before", 64).expect("room");
    let arena = mapped();
    arena.map(EXTENT, file.for_reader().expect("a file"), BYTES, Access::Read).expect("an extent");
    let before = arena.read(ObjectId(1), Location { extent: EXTENT, offset: 64, length: 6 }).expect("it is mapped");
    arena.map(EXTENT, file.for_writer().expect("a file"), BYTES, Access::Write).expect("what was read may be written");
    arena.add_lease(Lease { id: LeaseId(0), extent: EXTENT, offset: 128, bytes: 64 }).expect("a lease");
    let location = arena.put(b"after").expect("room");
    assert_eq!(arena.read(ObjectId(2), location).expect("it is mapped").as_ref(), b"after");
    assert_eq!(before.as_ref(), b"before", "what was read stays where it is");
    for (descriptor, access) in [(file.for_writer(), Access::Write), (file.for_reader(), Access::Read)] {
        let refused = arena.map(EXTENT, descriptor.expect("a file"), BYTES, access);
        assert!(matches!(refused, Err(MapError::AlreadyMapped { .. })), "{refused:?}");
    }
}

#[test]
fn descriptors_are_not_inherited() {
    let file = ExtentFile::create(BYTES).expect("memory");
    for descriptor in [file.for_reader().expect("a file"), file.for_writer().expect("a file")] {
        let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()));
        let flags = flags.expect("what the system knows");
        let octal = flags.lines().find_map(|line| line.strip_prefix("flags:")).expect("flags").trim();
        assert_ne!(u32::from_str_radix(octal, 8).expect("a number") & 0o2_000_000, 0, "not closed on exec");
    }
    // Root may open anything again; the mode is what holds others off.
    let path = format!("/proc/self/fd/{}", file.for_reader().expect("a file").as_raw_fd());
    let mut content = [1; 1];
    if let Ok(mut again) = OpenOptions::new().read(true).open(path) {
        again.read_exact(&mut content).expect("a byte");
        assert_eq!(content, [0]);
    }
}
