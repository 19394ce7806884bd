//! Objects of the shell's own in the arena of a job: room to build them in, and values to read.
//! The node counts them by ticket, and has each ticket back when what it stands for is dropped here.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{Location, ObjectId, SpaceLease};
use tandem_arena::ExtentFile;
use tandem_node::{Event, SpillFile};

use crate::handle::Access;
use crate::inbox::Inbound;

/// More than this is copied on a thread that may block.
const SMALL_BYTES: u64 = 256 << 10;

/// Something in an arena that the shell uses. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Ticket {
    number: u64,
    access: Access,
}

impl Ticket {
    pub(crate) fn new(number: u64, access: Access) -> Self {
        Self { number, access }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What it stands for cannot be read.
    pub(crate) fn unreadable(&self, reason: String) {
        self.access.send(Inbound::Event(Event::ReadFailed { ticket: self.number, reason }));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.access.send(Inbound::Event(Event::SpaceDropped { ticket: self.number }));
    }
}

/// Room for one object. Dropped, the object is given back too, unless others hold it.
#[derive(Debug)]
pub struct Room {
    ticket: Ticket,
    file: Arc<ExtentFile>,
    lease: SpaceLease,
}

impl Room {
    pub(crate) fn new(ticket: Ticket, file: Arc<ExtentFile>, lease: SpaceLease) -> Self {
        Self { ticket, file, lease }
    }

    /// Writes the object, which consists of `parts`.
    ///
    /// # Errors
    /// When they are more than there is room for, or memory is short.
    pub async fn write(&self, format: Format, parts: Vec<Bytes>) -> io::Result<Value> {
        let SpaceLease { extent, offset, bytes, .. } = self.lease;
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if length > bytes {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "an object larger than its room"));
        }
        let object = self.ticket.access.object(self.ticket.number);
        let file = Arc::clone(&self.file);
        aside(length, move || write_parts(&file, offset, &parts)).await?;
        Ok(Value {
            body: Body::Shared { format, object, location: Location { extent, offset, length } },
            refs: Vec::new(),
        })
    }

    /// The number by which the node knows it.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket.number()
    }
}

/// The bytes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How to read them.
    pub format: Format,
    /// A copy that nobody else can change.
    pub bytes: Bytes,
}

/// Where the bytes of a value are.
#[derive(Debug)]
pub(crate) enum Source {
    Inline(Part),
    Shared { format: Format, file: Arc<ExtentFile>, location: Location },
}

impl Source {
    /// Copies the bytes.
    pub(crate) async fn read(self) -> io::Result<Part> {
        match self {
            Self::Inline(part) => Ok(part),
            Self::Shared { format, file, location: Location { offset, length, .. } } => {
                let bytes = aside(length, move || read_range(&file, offset, length)).await?;
                Ok(Part { format, bytes })
            }
        }
    }
}

/// An object that another worker reads; it stays until this is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    /// A name that only these bytes have.
    pub(crate) copy: ObjectId,
    pub(crate) source: LentSource,
    pub(crate) ticket: Ticket,
}

/// Where it is.
#[derive(Debug)]
pub(crate) enum LentSource {
    Arena { file: Arc<ExtentFile>, location: Location },
    Disk { file: SpillFile, length: u64 },
}

impl Lent {
    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        match &self.source {
            LentSource::Arena { location, .. } => location.length,
            LentSource::Disk { length, .. } => *length,
        }
    }
}

/// Copies a range of an extent.
pub(crate) fn read_range(file: &ExtentFile, offset: u64, length: u64) -> io::Result<Bytes> {
    if offset.checked_add(length).is_none_or(|end| end > file.bytes()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a value outside of its extent"));
    }
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, offset)?;
    Ok(bytes.into())
}

fn write_parts(file: &ExtentFile, mut offset: u64, parts: &[Bytes]) -> io::Result<()> {
    for part in parts {
        file.write_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

/// Does what takes long for many bytes on a thread that may block.
async fn aside<T: Send + 'static>(bytes: u64, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if bytes <= SMALL_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
