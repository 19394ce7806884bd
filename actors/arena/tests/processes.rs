//! A worker and two executors as processes of their own: one puts an object, the other reads it in place, and what they say
//! and hold is checked and taken back.
#![cfg(not(miri))]

use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tandem_arena::allocator::{Accepted, Leased};
use tandem_arena::{
    Access, Allocator, ArenaConfig, ExecutorId, ExtentFile, ExtentId, Holder, Lease, LeaseId, Location, MappedArena,
    ObjectId, Published,
};
use tandem_frames::{Frame, FrameReceiver, Limits, Link, inherited, pair};

const LEASE: u16 = 1;
const PUBLISH: u16 = 2;
const READ: u16 = 3;
const SUM: u16 = 4;
const RELEASED: u16 = 5;

const EXTENT_BYTES: u64 = 4 << 20;
const VALUES: u64 = 100_000;

fn numbers<const N: usize>(frame: &Frame) -> [u64; N] {
    let mut numbers = frame.payload.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
    std::array::from_fn(|_| numbers.next().expect("a number"))
}

fn frame(kind: u16, numbers: &[u64]) -> Frame {
    Frame::new(kind, numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>())
}

struct Executor {
    child: Child,
    link: Link,
    holder: Holder,
}

impl Executor {
    fn start(id: u64) -> Self {
        let (own, child_end) = pair().expect("a pair");
        let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
        command.args(["--exact", "objects_pass_between_processes"]).env("TANDEM_ARENA_TEST_EXECUTOR", "1");
        let child = command.stdin(child_end).stdout(Stdio::null()).spawn().expect("a child");
        let link = Link::start(own, Limits::default()).expect("a link");
        Self { child, link, holder: Holder::Executor(ExecutorId(id)) }
    }

    async fn next<const N: usize>(&mut self, kind: u16) -> [u64; N] {
        let frame = next(&mut self.link.receiver).await.expect("a frame of the executor");
        assert_eq!(frame.kind, kind);
        numbers(&frame)
    }

    fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("its end");
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(receiver: &mut FrameReceiver) -> Option<Frame> {
    receiver.recv().await.expect("a sound stream")
}

#[tokio::test]
async fn objects_pass_between_processes() {
    if std::env::var_os("TANDEM_ARENA_TEST_EXECUTOR").is_some() {
        return executor().await;
    }
    let config = ArenaConfig { extent_bytes: EXTENT_BYTES, quota_bytes: EXTENT_BYTES, ..ArenaConfig::default() };
    let mut allocator = Allocator::new(config);
    let (mut putter, mut getter) = (Executor::start(1), Executor::start(2));

    let Leased { lease, new_extent_bytes } = allocator.lease(putter.holder, VALUES * 8).expect("room");
    let file = ExtentFile::create(new_extent_bytes.expect("the first extent")).expect("memory");
    let leased = Frame {
        descriptors: vec![file.for_writer().expect("a file")],
        ..frame(LEASE, &[lease.id.0, lease.extent.0.into(), lease.offset, lease.bytes])
    };
    putter.link.sender.send(leased).await.expect("an open link");
    let [offset, length] = putter.next(PUBLISH).await;
    let (object, extent) = (ObjectId(1), lease.extent);
    let published = Published { object, location: Location { extent, offset, length } };
    assert!(allocator.publish(getter.holder, published).is_err(), "only its writer can publish it");
    assert_eq!(allocator.publish(putter.holder, published), Ok(Accepted::New));

    putter.kill();
    assert_eq!(allocator.holder_gone(putter.holder), [], "the worker keeps what the dead have published");
    allocator.pin(getter.holder, object).expect("it is there");
    let read = Frame {
        descriptors: vec![file.for_reader().expect("a file")],
        ..frame(READ, &[extent.0.into(), offset, length])
    };
    getter.link.sender.send(read).await.expect("an open link");
    assert_eq!(getter.next(SUM).await, [(0..VALUES).sum::<u64>()]);
    assert_eq!(allocator.unpin(Holder::Worker, object), Ok(false), "it is still being read");
    assert_eq!(getter.next(RELEASED).await, [1]);
    assert_eq!(allocator.unpin(getter.holder, object), Ok(true));
    let all = allocator.lease(getter.holder, EXTENT_BYTES).expect("the same memory for another writer").lease;
    assert_eq!((all.extent, all.bytes), (extent, EXTENT_BYTES));

    getter.link.sender.close();
    assert!(next(&mut getter.link.receiver).await.is_none());
    assert!(getter.child.wait().expect("its end").success());
}

/// Puts an object into each lease, and sums what it is told to read.
async fn executor() {
    let Link { sender, mut receiver, writer } =
        Link::start(inherited().expect("the end for the child"), Limits::default()).expect("a link");
    let releases = sender.clone();
    // SAFETY: all comes from the worker above, which keeps books with an `Allocator`.
    let arena: Arc<MappedArena> = unsafe {
        MappedArena::new(move |object| {
            releases.try_send(frame(RELEASED, &[object.0 as u64])).expect("room for a frame")
        })
    };
    while let Some(mut received) = next(&mut receiver).await {
        let file = received.descriptors.pop().expect("an extent");
        if received.kind == LEASE {
            let [id, extent, offset, bytes] = numbers(&received);
            let extent = ExtentId(extent as u32);
            arena.map(extent, file, EXTENT_BYTES, Access::Write).expect("an extent");
            arena.add_lease(Lease { id: LeaseId(id), extent, offset, bytes }).expect("a lease");
            let mut object = arena.create(VALUES * 8).expect("room");
            (0..VALUES).for_each(|value| object.append(&value.to_le_bytes()).expect("room"));
            let object = object.finish();
            let Location { offset, length, .. } = object.location();
            sender.send(frame(PUBLISH, &[offset, length])).await.expect("an open link");
        } else {
            let [extent, offset, length] = numbers(&received);
            let extent = ExtentId(extent as u32);
            arena.map(extent, file, EXTENT_BYTES, Access::Read).expect("an extent");
            let object = arena.read(ObjectId(1), Location { extent, offset, length }).expect("it is mapped");
            let values = object.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
            sender.send(frame(SUM, &[values.sum()])).await.expect("an open link");
        }
    }
    writer.close().await.expect("all is written");
}
