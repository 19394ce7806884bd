//! This process as a part of a job: who it is, what it holds, and its way to the node.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::channel::oneshot;
use tandem_actor_protocol::executor::Welcome;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{SqlRequest, ToNode};
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId};
use tandem_arena::ReadError;

use crate::calls::Calls;
use crate::executor::WorkQueue;
use crate::memory::Memory;
use crate::objects::{Handle, Table};
use crate::transport::Transport;
use crate::value::Fetched;

/// Answers that are waited for, by the number of the request; none once no more will come.
struct Asked<T>(Mutex<Option<Vec<(u32, oneshot::Sender<T>)>>>);

/// The rows of a statement.
type Rows = Result<Vec<Arc<Handle>>, Failure>;

impl<T> Asked<T> {
    fn ask(&self, request: u32) -> oneshot::Receiver<T> {
        let (answer, answered) = oneshot::channel();
        if let Some(asked) = &mut *self.lock() {
            asked.push((request, answer));
        }
        answered
    }

    fn answer(&self, request: u32, answer: T) {
        let mut asked = self.lock();
        let Some(asked) = &mut *asked else { return };
        if let Some(at) = asked.iter().position(|(number, _)| *number == request) {
            // Who asked may not wait any more.
            let _ = asked.swap_remove(at).1.send(answer);
        }
    }

    fn close(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<(u32, oneshot::Sender<T>)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }
}

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
    memory: Memory,
    finding: Asked<Option<(ActorId, String)>>,
    querying: Asked<Rows>,
}

impl Process {
    /// A process that has been welcomed and has its large values in `memory`.
    pub(crate) fn new(welcome: Welcome, transport: Arc<dyn Transport>, memory: Memory) -> Arc<Self> {
        Arc::new(Self {
            welcome,
            transport,
            next_object: AtomicU64::new(1),
            next_request: AtomicU32::new(1),
            objects: Table::default(),
            calls: Calls::default(),
            work: WorkQueue::default(),
            memory,
            finding: Asked::default(),
            querying: Asked::default(),
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

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Nothing more will be heard: whatever is waited for, now or later, has no value for this reason.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "an executor does not outlive its worker"))]
    pub(crate) fn lose(&self, failure: Failure) {
        self.objects.lose(failure);
        self.finding.close();
        self.querying.close();
        if let Memory::Apart(apart) = &self.memory {
            apart.close();
        }
    }

    /// Why what was asked of the node has no answer.
    pub(crate) fn unanswered(&self) -> Failure {
        let ending = || Failure::new(FailureKind::ProcessLost, "", "this process is ending");
        self.objects.lost().map_or_else(ending, |failure| Failure::clone(failure))
    }

    /// The first of `count` new ids that follow each other.
    pub(crate) fn new_ids(&self, count: u32) -> ObjectId {
        let number = self.next_object.fetch_add(u64::from(count.max(1)), Ordering::Relaxed);
        self.welcome.process.object(self.welcome.worker, number)
    }

    /// Handles of the objects that a new call returns. One that `tells_end` is sent with one result more, which says that it has ended.
    pub(crate) fn returned(self: &Arc<Self>, call: CallId, count: u32, tells_end: bool) -> Vec<Arc<Handle>> {
        let handles: Vec<_> = (0..count).map(|index| self.objects.insert(self, call.object(index))).collect();
        if tells_end && let Some(first) = handles.first() {
            first.set_end(self.objects.insert(self, call.object(count)));
        }
        handles
    }

    /// A value that came in a message, in place. It is unpinned when it is dropped.
    pub(crate) fn read(&self, value: Value) -> Result<Fetched, ReadError> {
        Ok(match value.body {
            // Copied, because a part of a frame would keep all that was read with it.
            Body::Inline { format, bytes } => Fetched { format, bytes: bytes::Bytes::copy_from_slice(&bytes) },
            Body::Shared { format, object, location } => {
                let bytes = match &self.memory {
                    Memory::Shared(space) => space.arena().read(object, location)?,
                    Memory::Apart(apart) => apart.take(location)?,
                };
                Fetched { format, bytes }
            }
        })
    }

    /// Asks who has a name.
    pub(crate) fn find(&self, namespace: String, name: String) -> oneshot::Receiver<Option<(ActorId, String)>> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let answered = self.finding.ask(request);
        self.send(ToNode::Find { request, namespace, name });
        answered
    }

    /// The answer to [`Self::find`].
    pub(crate) fn found(&self, request: u32, actor: Option<(ActorId, String)>) {
        self.finding.answer(request, actor);
    }

    /// Runs a statement over tables of files and of objects, each with its name.
    pub(crate) fn query(
        &self,
        sql: String,
        tables: Vec<(String, String)>,
        object_tables: Vec<(String, Vec<ObjectId>)>,
    ) -> oneshot::Receiver<Rows> {
        let request = self.next_request.fetch_add(1, Ordering::Relaxed);
        let answered = self.querying.ask(request);
        self.send(ToNode::Sql(SqlRequest { request, sql, tables, object_tables }));
        self.transport.flush();
        answered
    }

    /// The answer to [`Self::query`]. Rows that nobody waits for any more are dropped here.
    pub(crate) fn queried(self: &Arc<Self>, request: u32, rows: Result<Vec<ObjectId>, Failure>) {
        let rows = rows.map(|rows| rows.into_iter().map(|object| self.objects.insert(self, object)).collect());
        self.querying.answer(request, rows);
    }
}
