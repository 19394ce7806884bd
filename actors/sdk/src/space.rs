//! Room for large values in the job's arena: built where all others read them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tandem_actor_protocol::ExtentId;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_arena::{MappedArena, ObjectWriter};

use crate::transport::Transport;

/// How often room that was given may be gone when it is to be used, because other threads took it.
const TRIES: usize = 16;

/// The arena, and who waits for room in it.
pub(crate) struct Space {
    arena: Arc<MappedArena>,
    given: Sender<Result<(), Failure>>,
    /// Held by the one thread that asks.
    asking: Mutex<Receiver<Result<(), Failure>>>,
    /// Extents that are to be given up once nothing is built there.
    wanted_back: Mutex<Vec<ExtentId>>,
}

impl Space {
    pub(crate) fn new(arena: Arc<MappedArena>) -> Self {
        let (given, asking) = channel();
        Self { arena, given, asking: Mutex::new(asking), wanted_back: Mutex::default() }
    }

    pub(crate) fn arena(&self) -> &MappedArena {
        &self.arena
    }

    /// Begins a value with room for `bytes`. Waits for the node if there is none.
    pub(crate) fn create(&self, transport: &dyn Transport, bytes: u64) -> Result<ObjectWriter, Failure> {
        if let Ok(writer) = self.arena.create(bytes) {
            return Ok(writer);
        }
        let asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            if let Ok(writer) = self.arena.create(bytes) {
                return Ok(writer);
            }
            let used = self.arena.take_used_up();
            if !used.is_empty() {
                transport.send(ToNode::SpaceUsed(used));
            }
            transport.send(ToNode::NeedSpace { bytes });
            transport.flush();
            match asking.recv() {
                Ok(given) => given?,
                Err(_) => break,
            }
        }
        Err(Failure::new(FailureKind::StoreFull, "", format!("no room for a value of {bytes} bytes")))
    }

    /// The node's answer.
    pub(crate) fn answer(&self, given: Result<(), Failure>) {
        // The receiver lives as long as this.
        let _ = self.given.send(given);
    }

    /// The node wants an extent back.
    pub(crate) fn give_up(&self, transport: &dyn Transport, extent: ExtentId) {
        self.wanted_back.lock().unwrap_or_else(PoisonError::into_inner).push(extent);
        self.settle(transport);
    }

    /// Gives up what is wanted back and not in use any more. To be called when a value is complete.
    pub(crate) fn settle(&self, transport: &dyn Transport) {
        let mut wanted_back = self.wanted_back.lock().unwrap_or_else(PoisonError::into_inner);
        for extent in wanted_back.extract_if(.., |extent| self.arena.give_up(*extent)) {
            transport.post(ToNode::GaveUp(extent));
        }
    }
}
