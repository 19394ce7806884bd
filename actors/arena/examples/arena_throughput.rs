//! What an object costs in the arena, against a memory file of its own and a plain copy:
//!
//!   cargo run --release -p tandem-arena --example arena_throughput
//!
//! Each put includes the books of the worker: publish, and the last pin going. Behind that, what the books alone cost, by how
//! many objects are in them. One thread; needs 5 GiB of memory.

use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_arena::allocator::Leased;
use tandem_arena::{
    Access, Allocator, ArenaConfig, ExecutorId, ExtentFile, Holder, Location, MappedArena, NoSpace, ObjectId, Published,
};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const EXECUTOR: Holder = Holder::Executor(ExecutorId(1));
const GIB: usize = 1 << 30;
const SIZES: [usize; 4] = [64, 4 << 10, 1 << 20, GIB];

/// The worker's and the executor's side of one arena, in one process.
struct Both {
    allocator: Allocator,
    files: Vec<ExtentFile>,
    arena: Arc<MappedArena>,
    populate: bool,
    next: u128,
}

impl Both {
    fn new(populate: bool) -> Self {
        let config = ArenaConfig { quota_bytes: 4 << 30, ..ArenaConfig::default() };
        // SAFETY: the books below are the only ones, and what is read is published and not unpinned meanwhile.
        let arena = unsafe { MappedArena::new(|_| {}) };
        Self { allocator: Allocator::new(config), files: Vec::new(), arena, populate, next: 0 }
    }

    fn lease(&mut self, bytes: u64) -> Result {
        for lease in self.arena.take_used_up() {
            self.allocator.give_back(EXECUTOR, lease)?;
        }
        let Leased { lease, new_extent_bytes } = self.allocator.lease(EXECUTOR, bytes)?;
        if let Some(bytes) = new_extent_bytes {
            let file = ExtentFile::create(bytes)?;
            self.arena.map(lease.extent, file.for_writer()?, bytes, Access::Write)?;
            self.files.push(file);
            if self.populate {
                self.arena.populate(lease)?;
            }
        }
        Ok(self.arena.add_lease(lease)?)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<Published> {
        let location = loop {
            match self.arena.put(bytes) {
                Ok(location) => break location,
                Err(NoSpace { bytes }) => self.lease(bytes)?,
            }
        };
        self.next += 1;
        let published = Published { object: ObjectId(self.next), location };
        self.allocator.publish(EXECUTOR, published)?;
        Ok(published)
    }
}

fn main() -> Result {
    let source = vec![7_u8; GIB];
    println!("{:44} {:>10} {:>14} {:>10}", "", "bytes", "each, ns", "GB/s");
    for size in SIZES {
        let source = &source[..size];
        let count = (GIB / size).clamp(3, 1_000_000);
        let mut to = vec![1_u8; size];
        print(
            "copy into memory in use",
            size,
            count,
            time(count, || black_box(&mut to).copy_from_slice(black_box(source))),
        );
        drop(to);

        let mut both = Both::new(false);
        // Once around, so that all extents are in use.
        let warm_up = count.min(GIB / size);
        (0..warm_up).try_for_each(|_| put_and_drop(&mut both, source))?;
        let took = try_time(count, || put_and_drop(&mut both, source))?;
        print("put, recycled", size, count, took);
        drop(both);

        let mut both = Both::new(true);
        let alone = count.min(GIB / size);
        for _ in 0..(alone * size).div_ceil(64 << 20) {
            both.lease(64 << 20)?;
        }
        if size < GIB {
            let took = try_time(alone, || both.arena.put(source).map(black_box).map(|_| ()).map_err(Into::into))?;
            print("put, the executor's part alone, populated", size, alone, took);
        }
        drop(both);

        for (populate, name) in [(false, "put, new memory"), (true, "put, new memory, populated at the lease")] {
            let mut both = Both::new(populate);
            let count = (GIB / size).min(count);
            let took = try_time(count, || both.put(source).map(drop))?;
            print(name, size, count, took);
        }

        let files = count.min(20_000);
        print("put, a memory file each", size, files, try_time(files, || memory_file(source))?);

        let mut both = Both::new(false);
        let Published { object, location } = both.put(source)?;
        let took = time(1_000_000, || drop(black_box(both.arena.read(object, black_box(location)))));
        print("get", size, 1_000_000, took);
    }
    [1_000, 1_000_000].into_iter().try_for_each(books)
}

/// What a worker notes and decides, among `count` objects that nobody reads.
fn books(count: usize) -> Result {
    let mut allocator = Allocator::new(ArenaConfig { max_objects: count + 1, ..ArenaConfig::default() });
    let mut lease = allocator.lease(EXECUTOR, 64)?.lease;
    let mut publish = |allocator: &mut Allocator, number: usize| -> Result {
        if lease.bytes == 0 {
            lease = allocator.lease(EXECUTOR, 64)?.lease;
        }
        let (object, location) =
            (ObjectId(number as u128), Location { extent: lease.extent, offset: lease.offset, length: 64 });
        allocator.publish(EXECUTOR, Published { object, location })?;
        (lease.offset, lease.bytes) = (lease.offset + 64, lease.bytes - 64);
        Ok(())
    };
    let name = |what| format!("{what}, among {count} objects");
    let filled = try_time(1, || (0..count).try_for_each(|number| publish(&mut allocator, number)))?;
    print(&name("books: publish"), 64, count, filled);
    let times = 1_000_000;
    let mut objects = (0..).map(|number: usize| ObjectId((number * 7_919 % count) as u128));
    let reader = Holder::Executor(ExecutorId(2));
    let took = try_time(times, || {
        let object = objects.next().ok_or("an endless sequence")?;
        allocator.pin(reader, object)?;
        allocator.unpin(reader, object)?;
        Ok(())
    })?;
    print(&name("books: pin and unpin"), 64, times, took);
    let (bytes, useful) = (64, ArenaConfig::default().extent_bytes / 4);
    let took =
        time(10, || drop(black_box(allocator.victims(bytes, useful, u64::MAX, |object| allocator.pins(object) == 1))));
    print(&name("books: choose what to spill"), 64, 10, took);
    let took = try_time(count, || {
        let object = objects.next().ok_or("an endless sequence")?;
        allocator.unpin(Holder::Worker, object)?;
        Ok(())
    })?;
    print(&name("books: the last pin"), 64, count, took);
    Ok(())
}

fn put_and_drop(both: &mut Both, bytes: &[u8]) -> Result {
    let published = both.put(bytes)?;
    both.allocator.unpin(Holder::Worker, published.object)?;
    Ok(())
}

/// What the arena is there to avoid.
fn memory_file(bytes: &[u8]) -> Result {
    let file = ExtentFile::create(bytes.len() as u64)?;
    let writer = std::fs::File::from(file.for_writer()?);
    writer.write_all_at(bytes, 0)?;
    Ok(())
}

fn time(count: usize, mut each: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..count).for_each(|_| each());
    start.elapsed()
}

fn try_time(count: usize, mut each: impl FnMut() -> Result) -> Result<Duration> {
    let start = Instant::now();
    (0..count).try_for_each(|_| each())?;
    Ok(start.elapsed())
}

fn print(name: &str, size: usize, count: usize, took: Duration) {
    let each = took.as_secs_f64() / count as f64;
    println!("{name:44} {size:>10} {:>14.0} {:>10.2}", each * 1e9, size as f64 / each / 1e9);
}
