//! A process as far as its objects need one: the table of them, and a node that is told of them.

use std::collections::HashSet;
use std::sync::Arc;

use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ExtentId, ObjectId};

use crate::objects::Table;
use crate::sync::{Mutex, Receiver, Sender, channel};
use crate::transport::Transport;

pub(crate) struct Process {
    objects: Table,
    node: Node,
}

/// What the node of a process hears.
pub(crate) struct Node {
    held: Mutex<HashSet<ObjectId>>,
    /// Objects whose values are asked for; none when nothing more is.
    asked: Mutex<Sender<Option<ObjectId>>>,
}

impl Process {
    /// A process, and what it asks for.
    pub(crate) fn new() -> (Arc<Self>, Receiver<Option<ObjectId>>) {
        let (asked, asks) = channel();
        let node = Node { held: Mutex::default(), asked: Mutex::new(asked) };
        (Arc::new(Self { objects: Table::default(), node }), asks)
    }

    pub(crate) fn objects(&self) -> &Table {
        &self.objects
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &self.node
    }

    /// Whether the node keeps an object for this process.
    pub(crate) fn is_held(&self, object: ObjectId) -> bool {
        self.node.held.lock().expect("no panic").contains(&object)
    }

    /// Nothing more is asked for.
    pub(crate) fn end(&self) {
        self.node.ask(None);
    }
}

impl Node {
    fn ask(&self, object: Option<ObjectId>) {
        self.asked.lock().expect("no panic").send(object).expect("the node hears it");
    }
}

impl Transport for Node {
    fn send(&self, message: ToNode) {
        unreachable!("objects do not say {message:?}");
    }

    fn post(&self, message: ToNode) {
        unreachable!("objects do not say {message:?}");
    }

    fn retain(&self, object: ObjectId) {
        self.held.lock().expect("no panic").insert(object);
    }

    fn release(&self, object: ObjectId) {
        self.held.lock().expect("no panic").remove(&object);
    }

    fn unpin(&self, object: ObjectId) {
        unreachable!("a handle does not unpin {object}");
    }

    fn watch(&self, object: ObjectId, fetch: bool) {
        assert!(fetch, "values alone are asked for");
        self.ask(Some(object));
    }

    fn piece(&self, extent: ExtentId, _: u64, _: &[u8]) {
        unreachable!("a handle sends nothing to {extent}");
    }

    fn flush(&self) {}
}
