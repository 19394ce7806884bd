//! Shared memory for the objects of one job on one node.
//! Owned by the worker: it makes the memory, decides who may write where, and believes nothing an executor says about it.
//! An executor builds objects in place in what it was leased, without asking for each, and publishes them afterwards; all
//! others map the same memory read-only and read it where it is.
//!
//!   worker:    Allocator (pure) ── ExtentFile (memory files)
//!                 │ lease          ▲ published         │ descriptors
//!   executor:  MappedArena ── ObjectWriter ─finish─► Location ─► `Bytes` anywhere, pinned until dropped
//!
//! Invariants: an arena belongs to one job, so whoever can write into it writes into no one else's data; an extent has one
//! writer at a time, and a new one only when the old one's process is gone; a published object does not change and its
//! memory is not used again while anyone has it pinned; extents never shrink, so that mapped memory does not go away.
//!
//! Why so, as `examples/arena_throughput` measured: an object in memory that was in use before costs the copy (1 GiB: 85 to 105
//! percent of the speed of `memcpy`), one in new memory six to eight times that, or five with the pages taken at the lease, and
//! a small one in a memory file of its own ten times that. So the space of objects is recycled, and only whole extents that
//! nobody needs go back to the system. To read an object is to look up its extent, whatever its size.
//!
//! There are no counts shared between threads but those of `Arc`, and no atomics of our own.
//!
//! A process of the job that does not keep to this can change what others read in place, and what they do then is undefined; it
//! reaches no other job, and not the worker, which copies before it looks. See `docs/memory-and-threads.md`.

pub mod allocator;
mod bump;
mod extent_file;
mod id;
mod location;
mod mapped;
mod mapping;
mod object;
mod sync;
#[cfg(test)]
mod tests;
mod writer;

pub use allocator::{Allocator, ArenaConfig};
pub use extent_file::ExtentFile;
pub use id::{ExecutorId, ExtentId, Holder, LeaseId, ObjectId};
pub use location::{ALIGNMENT, Lease, Location, Published};
pub use mapped::{MapError, MappedArena, ReadError};
pub use mapping::Access;
pub use writer::{FinishedObject, NoSpace, ObjectWriter};
