//! How a process reaches its node. There is one way today, the socket that an executor is started with.

use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::node::ToNode;

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
    /// Makes sure that all that was said is on its way.
    fn flush(&self);
}
