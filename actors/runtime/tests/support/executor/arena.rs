//! The arena as this executor sees it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ExtentId, ObjectId, SpaceLease};
use tandem_arena::{Access, MappedArena};
use tandem_frames::FrameSender;

use crate::say;

pub(crate) struct Arena {
    mapped: Arc<MappedArena>,
    sender: FrameSender,
}

impl Arena {
    pub(crate) fn new(sender: FrameSender) -> Self {
        // SAFETY: all that comes over the link is from a test that keeps the books, and all objects are built with this.
        Self { mapped: unsafe { MappedArena::new(|_| {}) }, sender }
    }

    pub(crate) fn map(&self, extent: ExtentId, bytes: u64, writable: bool, mut files: Vec<OwnedFd>) {
        let access = if writable { Access::Write } else { Access::Read };
        self.mapped.map(extent, files.pop().expect("a descriptor"), bytes, access).expect("an extent");
    }

    /// Puts an object that fills the lease.
    pub(crate) async fn put(&self, lease: SpaceLease) {
        self.mapped.add_lease(lease).expect("a lease");
        let location = self.mapped.put(&vec![b'x'; lease.bytes as usize]).expect("room");
        let value =
            Value { body: Body::Shared { format: Format::Bytes, object: ObjectId(1), location }, refs: Vec::new() };
        say(&self.sender, ToNode::Put { object: ObjectId(1), value }).await;
    }

    /// A value as text; of one in the arena how often it has its first byte.
    pub(crate) fn text(&self, value: &Value) -> String {
        let bytes = self.bytes(value);
        match &value.body {
            Body::Inline { .. } => String::from_utf8_lossy(&bytes).into_owned(),
            Body::Shared { .. } => {
                let first = bytes.first().copied().unwrap_or(b'?');
                format!("{}{}", bytes.iter().filter(|byte| **byte == first).count(), char::from(first))
            }
        }
    }

    /// The bytes of a value.
    pub(crate) fn bytes(&self, value: &Value) -> Bytes {
        match &value.body {
            Body::Inline { bytes, .. } => bytes.clone(),
            Body::Shared { location, .. } => self.mapped.read(ObjectId(1), *location).expect("it is mapped"),
        }
    }
}
