//! How a process reaches its node: over the socket that it is started with, or that leads to the connection of a client.

use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ExtentId, ObjectId};

/// A way to say things to the node, in order and without waiting for answers.
pub(crate) trait Transport: Send + Sync {
    /// Says this. May wait until the node has taken what was said before.
    fn send(&self, message: ToNode);
    /// Says this without ever waiting, for the thread that the node's messages come in on.
    fn post(&self, message: ToNode);
    /// Says that this process holds an object, before anything that is said from now on.
    fn retain(&self, object: ObjectId);
    /// Says that this process holds an object no more, some time after all that was said up to now.
    fn release(&self, object: ObjectId);
    /// Says that a shared value is not read any more.
    fn unpin(&self, object: ObjectId);
    /// Asks for an object's value, or only whether it has one.
    fn watch(&self, object: ObjectId, fetch: bool);
    /// Sends some bytes of a large value to where they belong, where memory is not shared. May wait as [`Self::send`].
    fn piece(&self, extent: ExtentId, offset: u64, bytes: &[u8]);
    /// Makes sure that all that was said is on its way.
    fn flush(&self);
}
