//! This process as a part of a job: who it is, what it holds, and its way to the node.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::oneshot;
use tandem_actor_protocol::executor::Welcome;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId};
use tandem_arena::{MappedArena, ReadError};

use crate::calls::Calls;
use crate::executor::WorkQueue;
use crate::objects::{Handle, Table};
use crate::space::Space;
use crate::transport::Transport;
use crate::value::Fetched;

/// Answers that are waited for, by the number of the request.
type Asked<T> = Mutex<Vec<(u32, oneshot::Sender<T>)>>;

/// One process of a job.
pub(crate) struct Process {
    welcome: Welcome,
    transport: Arc<dyn Transport>,
    /// Number of the next object made here.
    next_object: AtomicU64,
    next_request: AtomicU32,
    objects: Table,
    calls: Calls,
    work: WorkQueue,
    space: Space,
    finding: Asked<Option<(ActorId, String)>>,
}

impl Process {
    /// A process that has been welcomed and reads shared values in `arena`.
    pub(crate) fn new(welcome: Welcome, transport: Arc<dyn Transport>, arena: Arc<MappedArena>) -> Arc<Self> {
        Arc::new(Self {
            welcome,
            transport,
            next_object: AtomicU64::new(1),
            next_request: AtomicU32::new(1),
            objects: Table::default(),
            calls: Calls::default(),
            work: WorkQueue::default(),
            space: Space::new(arena),
            finding: Asked::default(),
        })
    }

    pub(crate) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    pub(crate) fn send(&self, message: ToNode) {
        self.transport.send(message);
    }

    pub(crate) fn objects(&self) -> &Table {
        &self.objects
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// What is to be run here.
    pub(crate) fn work(&self) -> &WorkQueue {
        &self.work
    }

    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// The first of `count` new ids that follow each other.
    pub(crate) fn new_ids(&self, count: u32) -> ObjectId {
        let number = self.next_object.fetch_add(u64::from(count.max(1)), Ordering::Relaxed);
        self.welcome.process.object(self.welcome.worker, number)
    }

    /// Handles of the objects that a new call returns.
    pub(crate) fn returned(self: &Arc<Self>, call: CallId, count: u32) -> Vec<Arc<Handle>> {
        (0..count).map(|index| self.objects.insert(self, call.object(index))).collect()
    }

    /// A value that came in a message, in place. It is unpinned when it is dropped.
    pub(crate) fn read(&self, value: Value) -> Result<Fetched, ReadError> {
        Ok(match value.body {
            // Copied, because a part of a frame would keep all that was read with it.
            Body::Inline { format, bytes } => Fetched { format, bytes: bytes::Bytes::copy_from_slice(&bytes) },
            Body::Shared { format, object, location } => {
                Fetched { format, bytes: self.space.arena().read(object, location)? }
            }
        })
    }

    /// Asks who has a name.
    pub(crate) fn find(&self, namespace: String, name: String) -> oneshot::Receiver<Option<(ActorId, String)>> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.finding.lock().unwrap_or_else(PoisonError::into_inner).push((request, answer));
        self.send(ToNode::Find { request, namespace, name });
        answered
    }

    /// The answer to [`Self::find`].
    pub(crate) fn found(&self, request: u32, actor: Option<(ActorId, String)>) {
        let mut finding = self.finding.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = finding.iter().position(|(asked, _)| *asked == request) {
            // Who asked may not wait any more.
            let _ = finding.swap_remove(at).1.send(actor);
        }
    }
}
