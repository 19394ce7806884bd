//! Writes a value: into a message if it is small, else where all others read it, without a copy in between.

use std::cell::Cell;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{INLINE_BYTES, ObjectId};

use super::{Data, Kept, ValueError, collect};
use crate::memory::Memory;
use crate::process::Process;
use crate::space::{Room, Space};

thread_local! {
    /// The buffer of the last small value, to save its allocation.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value that outgrows a message gets this much room first.
const FIRST_BYTES: u64 = 4 * INLINE_BYTES as u64;

/// The most objects that one value can name: so many fit into a message.
const MAX_NAMED: usize = 1 << 20;

/// A value that was written, and what it needs until it is sent.
pub(crate) struct Built {
    pub(crate) value: Value,
    pub(crate) kept: Kept,
}

/// Writes `value`. If it is large it is kept under a new name.
pub(crate) fn build<T: Data>(process: &Process, value: &T) -> Result<Built, Failure> {
    build_within(process, value, INLINE_BYTES, || process.new_ids(1))
}

/// Writes `value`, and into shared memory if it has more than `inline_bytes`, where it is kept under what `name` gives.
pub(crate) fn build_within<T: Data>(
    process: &Process,
    value: &T,
    inline_bytes: usize,
    name: impl FnOnce() -> ObjectId,
) -> Result<Built, Failure> {
    let mut builder = ValueBuilder::new(process, inline_bytes);
    let (written, named) = collect(|| value.write(&mut builder));
    let format = written.map_err(|error| builder.why(&error))?;
    let mut kept = Kept::from(named);
    let named = kept.named();
    if let Some(failure) = named.iter().find_map(|handle| handle.never_sent()) {
        let cause = Some(Box::new(Failure::clone(&failure)));
        let message = "an object that the value names has no value";
        return Err(Failure { cause, ..Failure::new(FailureKind::Dependency, "", message) });
    }
    if named.len() > MAX_NAMED {
        let message = format!("a value names {} objects, more than the {MAX_NAMED} that can be", named.len());
        return Err(Failure::new(FailureKind::Mismatch, "", message));
    }
    let refs = named.iter().map(|handle| handle.id()).collect();
    let body = builder.finish(format, name, &mut kept)?;
    Ok(Built { value: Value { body, refs }, kept })
}

/// Where a value is written to.
pub struct ValueBuilder<'a> {
    process: &'a Process,
    target: Target,
    /// What a message takes of it.
    inline_bytes: usize,
    /// Why there was no room.
    failed: Option<Failure>,
}

enum Target {
    Message(Vec<u8>),
    Arena(Room),
}

impl<'a> ValueBuilder<'a> {
    fn new(process: &'a Process, inline_bytes: usize) -> Self {
        Self { process, target: Target::Message(SPARE.take()), inline_bytes, failed: None }
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reserve(bytes.len())?;
        match &mut self.target {
            Target::Message(message) => {
                message.extend_from_slice(bytes);
                Ok(())
            }
            Target::Arena(room) => room.writer.append(bytes).map_err(|_| io::ErrorKind::StorageFull.into()),
        }
    }

    /// Makes room for `bytes` more, and moves to shared memory if they are too many for a message.
    ///
    /// # Errors
    /// When there is no room.
    pub fn reserve(&mut self, bytes: usize) -> io::Result<()> {
        // Where nothing is shared, a large value is sent when it is whole.
        let Memory::Shared(space) = self.process.memory() else { return Ok(()) };
        match &self.target {
            Target::Message(message) if message.len() + bytes <= self.inline_bytes => Ok(()),
            Target::Message(message) => {
                let needed = (message.len() + bytes) as u64;
                self.move_to(space, needed.max(FIRST_BYTES))
            }
            Target::Arena(Room { writer, .. }) if writer.len() + bytes as u64 <= writer.capacity() => Ok(()),
            Target::Arena(Room { writer, .. }) => {
                let needed = writer.len() + bytes as u64;
                self.move_to(space, needed.max(writer.capacity() * 2))
            }
        }
    }

    /// Goes on in a place with room for `bytes` in all.
    fn move_to(&mut self, space: &Arc<Space>, bytes: u64) -> io::Result<()> {
        let mut to = match space.create(bytes) {
            Ok(room) => room,
            Err(failure) => {
                self.failed = Some(failure);
                return Err(io::ErrorKind::StorageFull.into());
            }
        };
        let copied = match &mut self.target {
            Target::Message(message) => to.writer.append(message),
            Target::Arena(from) => to.writer.append(from.writer.as_mut_slice()),
        };
        copied.map_err(|_| io::ErrorKind::StorageFull)?;
        self.target = Target::Arena(to);
        Ok(())
    }

    fn finish(self, format: Format, name: impl FnOnce() -> ObjectId, kept: &mut Kept) -> Result<Body, Failure> {
        let location = match (self.target, self.process.memory()) {
            (Target::Message(message), Memory::Apart(apart)) if message.len() > self.inline_bytes => {
                apart.send(self.process.transport(), &message)?
            }
            (Target::Message(mut message), _) => {
                let bytes = Bytes::copy_from_slice(&message);
                message.clear();
                SPARE.set(message);
                return Ok(Body::Inline { format, bytes });
            }
            (Target::Arena(room), _) => {
                let unsent = room.finish();
                let location = unsent.location();
                kept.room(unsent);
                location
            }
        };
        Ok(Body::Shared { format, object: name(), location })
    }

    /// What to tell of a value that could not be written.
    fn why(&mut self, error: &ValueError) -> Failure {
        self.failed.take().unwrap_or_else(|| Failure::new(FailureKind::Mismatch, "", error.to_string()))
    }
}

impl io::Write for ValueBuilder<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As postcard writes to it.
impl postcard::ser_flavors::Flavor for &mut ValueBuilder<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if let Target::Message(message) = &mut self.target
            && message.len() < self.inline_bytes
        {
            message.push(byte);
            return Ok(());
        }
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.append(bytes).map_err(|_| postcard::Error::SerializeBufferFull)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
