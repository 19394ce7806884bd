//! Large values of a process that shares no memory with its worker, which is the driver at a client. They go to the worker in
//! pieces, into room that was asked for, and come from there in pieces.
//! Invariant: a value is whole before the message that names it is sent or read.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{Location, Piece, SpaceLease};
use tandem_arena::ReadError;

use crate::transport::Transport;

/// See the module's header.
pub(crate) struct Apart {
    /// None once the worker is gone.
    given: Mutex<Option<Sender<Result<SpaceLease, Failure>>>>,
    /// Held by the one thread that asks.
    asking: Mutex<Receiver<Result<SpaceLease, Failure>>>,
    /// The value that comes.
    coming: Mutex<Option<Coming>>,
}

/// The first pieces of a value.
struct Coming {
    start: Location,
    bytes: Vec<u8>,
}

impl Apart {
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only clients are apart"))]
    pub(crate) fn new() -> Self {
        let (given, asking) = channel();
        Self { given: Mutex::new(Some(given)), asking: Mutex::new(asking), coming: Mutex::default() }
    }

    /// Sends a value to where all others read it.
    pub(crate) fn send(&self, transport: &dyn Transport, value: &[u8]) -> Result<Location, Failure> {
        let lease = self.ask(transport, value.len() as u64)?;
        let location = Location { extent: lease.extent, offset: lease.offset, length: value.len() as u64 };
        let mut rest = value;
        for (offset, length) in Piece::ranges(location) {
            let (piece, behind) = rest.split_at(length);
            transport.piece(lease.extent, offset, piece);
            rest = behind;
        }
        Ok(location)
    }

    /// Gets room for one value.
    fn ask(&self, transport: &dyn Transport, bytes: u64) -> Result<SpaceLease, Failure> {
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        transport.send(ToNode::NeedSpace { bytes });
        transport.flush();
        let gone = || {
            Failure::new(
                FailureKind::WorkerLost,
                "",
                format!("no room for a value of {bytes} bytes: the worker is gone"),
            )
        };
        asking.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// The node's answer.
    pub(crate) fn answer(&self, given: Result<SpaceLease, Failure>) {
        if let Some(asked) = &*lock(&self.given) {
            // The receiver lives as long as this.
            let _ = asked.send(given);
        }
    }

    /// No more answers will come.
    pub(crate) fn close(&self) {
        *lock(&self.given) = None;
    }

    /// A piece has come.
    pub(crate) fn gather(&self, piece: &Piece) {
        let mut coming = lock(&self.coming);
        let start = Location { extent: piece.extent, offset: piece.offset, length: 0 };
        coming.get_or_insert_with(|| Coming { start, bytes: Vec::new() }).bytes.extend_from_slice(&piece.bytes);
    }

    /// The value that has come, if it is the one from there.
    pub(crate) fn take(&self, location: Location) -> Result<Bytes, ReadError> {
        let start = Location { length: 0, ..location };
        let Coming { start, bytes } = lock(&self.coming).take().unwrap_or(Coming { start, bytes: Vec::new() });
        if (Location { length: bytes.len() as u64, ..start }) == location {
            Ok(bytes.into())
        } else {
            Err(ReadError::OutOfBounds { location })
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
