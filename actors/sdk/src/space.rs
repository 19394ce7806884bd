//! Room for large values in the job's arena: built where all others read them.
//! Invariant: what is built in an extent was sent before the extent is given up.

use std::sync::{Arc, PoisonError};

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ExtentId, Location, SpaceLease};
use tandem_arena::{FinishedObject, MapError, MappedArena, ObjectWriter};

use crate::sync::{Mutex, Receiver, Sender, channel};
use crate::transport::Transport;

/// How often room that was given may be gone when it is to be used, because other threads took it.
const TRIES: usize = 16;

/// The arena, and who waits for room in it.
pub(crate) struct Space {
    arena: Arc<MappedArena>,
    transport: Arc<dyn Transport>,
    given: Sender<Result<(), Failure>>,
    /// Held by the one thread that asks.
    asking: Mutex<Receiver<Result<(), Failure>>>,
    /// Extents that are to be given up once nothing is built there.
    wanted_back: Mutex<Vec<ExtentId>>,
}

/// Room that a value is written into.
pub(crate) struct Room {
    pub(crate) writer: ObjectWriter,
    settles: Settles,
}

/// Room with a value that was not sent yet.
pub(crate) struct Unsent {
    object: FinishedObject,
    /// Behind the object, because members are dropped in order.
    _settles: Settles,
}

/// Gives up what is wanted back when this is dropped.
struct Settles(Arc<Space>);

impl Space {
    pub(crate) fn new(arena: Arc<MappedArena>, transport: Arc<dyn Transport>) -> Arc<Self> {
        let (given, asking) = channel();
        let (asking, wanted_back) = (Mutex::new(asking), Mutex::default());
        Arc::new(Self { arena, transport, given, asking, wanted_back })
    }

    pub(crate) fn arena(&self) -> &MappedArena {
        &self.arena
    }

    /// Begins a value with room for `bytes`. Waits for the node if there is none.
    pub(crate) fn create(self: &Arc<Self>, bytes: u64) -> Result<Room, Failure> {
        let room = |writer| Room { writer, settles: Settles(Arc::clone(self)) };
        if let Ok(writer) = self.arena.create(bytes) {
            return Ok(room(writer));
        }
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if let Ok(writer) = self.arena.create(bytes) {
                return Ok(room(writer));
            }
            let used = self.arena.take_used_up();
            if !used.is_empty() {
                self.transport.send(ToNode::SpaceUsed(used));
            }
            self.transport.send(ToNode::NeedSpace { bytes });
            self.transport.flush();
            match asking.recv() {
                Ok(given) => given?,
                Err(_) => break,
            }
        }
        Err(Failure::new(FailureKind::StoreFull, "", format!("no room for a value of {bytes} bytes")))
    }

    /// The node's answer. Room that it gave before it heard that its extent was given up is none, and is asked for again.
    ///
    /// # Errors
    /// When it is not in memory that this process has.
    pub(crate) fn answer(&self, given: Result<SpaceLease, Failure>) -> Result<(), MapError> {
        let given = match given.map(|lease| self.arena.add_lease(lease)) {
            Ok(Ok(()) | Err(MapError::ReadOnly { .. })) => Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(failure) => Err(failure),
        };
        // The receiver lives as long as this.
        let _ = self.given.send(given);
        Ok(())
    }

    /// The node wants an extent back.
    pub(crate) fn give_up(&self, extent: ExtentId) {
        self.wanted_back.lock().unwrap_or_else(PoisonError::into_inner).push(extent);
        self.settle();
    }

    /// Gives up what is wanted back and not in use any more.
    fn settle(&self) {
        let mut wanted_back = self.wanted_back.lock().unwrap_or_else(PoisonError::into_inner);
        for extent in wanted_back.extract_if(.., |extent| self.arena.give_up(*extent)) {
            self.transport.post(ToNode::GaveUp(extent));
        }
    }
}

impl Room {
    /// The value is whole.
    pub(crate) fn finish(self) -> Unsent {
        Unsent { object: self.writer.finish(), _settles: self.settles }
    }
}

impl Unsent {
    pub(crate) fn location(&self) -> Location {
        self.object.location()
    }
}

impl Drop for Settles {
    fn drop(&mut self) {
        self.0.settle();
    }
}
