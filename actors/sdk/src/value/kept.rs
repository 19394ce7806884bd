//! What must stay until a value is sent.

use std::sync::Arc;

use crate::objects::Handle;
use crate::space::Unsent;

/// Keeps what values that are to be sent need until they are: handles of the objects that they name, so that the node hears of
/// these before they are let go of, and the room that they were written into, so that nobody else writes there.
#[derive(Default)]
pub(crate) struct Kept {
    named: Vec<Arc<Handle>>,
    unsent: Vec<Unsent>,
}

impl Kept {
    pub(crate) fn named(&self) -> &[Arc<Handle>] {
        &self.named
    }

    pub(crate) fn name(&mut self, handle: Arc<Handle>) {
        self.named.push(handle);
    }

    pub(super) fn room(&mut self, unsent: Unsent) {
        self.unsent.push(unsent);
    }

    /// Keeps what another value needs, too.
    pub(crate) fn and(&mut self, other: Self) {
        let Self { named, unsent } = other;
        self.named.extend(named);
        self.unsent.extend(unsent);
    }
}

impl From<Vec<Arc<Handle>>> for Kept {
    fn from(named: Vec<Arc<Handle>>) -> Self {
        Self { named, unsent: Vec::new() }
    }
}
