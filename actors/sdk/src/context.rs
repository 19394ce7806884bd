//! What functions and the main program are given to work with a job.

use std::sync::Arc;
use std::time::Duration;

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId, INLINE_BYTES, JobId};

use crate::calls::{self, Call};
use crate::getting::{Get, GetAll, Watching};
use crate::object_ref::ObjectRef;
use crate::process::Process;
use crate::value::{Built, Data, build_within};

/// The way from code to the job it is a part of. Cheap to clone.
///
/// The main program gets one, and so does each task and method that has a `Context` as its first parameter.
#[derive(Clone)]
pub struct Context {
    process: Arc<Process>,
    call: Option<Arc<Call>>,
    /// What is submitted with it has an object more, which says that it has ended.
    tells_ends: bool,
}

/// Some objects, by whether they are there.
#[derive(Debug)]
pub struct Waited<T> {
    /// Those that have a value, or have failed.
    pub ready: Vec<ObjectRef<T>>,
    /// The others.
    pub pending: Vec<ObjectRef<T>>,
}

impl Context {
    pub(crate) fn new(process: Arc<Process>, call: Option<Arc<Call>>) -> Self {
        Self { process, call, tells_ends: false }
    }

    pub(crate) fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The call whose code has this.
    pub(crate) fn call(&self) -> Option<&Arc<Call>> {
        self.call.as_ref()
    }

    /// The same, but what is submitted with it also says when it has ended.
    pub(crate) fn telling_ends(&self) -> Self {
        Self { tells_ends: true, ..self.clone() }
    }

    pub(crate) fn tells_ends(&self) -> bool {
        self.tells_ends
    }

    /// The call that submits something with this.
    pub(crate) fn parent(&self) -> Option<CallId> {
        self.call.as_ref().map(|call| call.id)
    }

    /// The actor that this is a call of.
    pub(crate) fn actor(&self) -> Option<ActorId> {
        self.call.as_ref().and_then(|call| call.actor)
    }

    /// Ends the actor whose method this is, after the calls that it has got. Does nothing elsewhere.
    pub fn end_actor(&self) {
        if let Some(actor) = self.actor() {
            self.process.send(ToNode::Kill { actor, at_once: false });
        }
    }

    /// The value of an object. While a task waits, others use its slot.
    ///
    /// # Errors
    /// Why there is no value.
    pub fn get<T: Data>(&self, object: &ObjectRef<T>) -> Get<T> {
        Get::new(Arc::clone(object.handle()))
    }

    /// The values of objects, in their order.
    ///
    /// # Errors
    /// The first failure among them, without waiting for the others.
    pub fn get_all<'a, T: Data>(&self, objects: impl IntoIterator<Item = &'a ObjectRef<T>>) -> GetAll<T> {
        GetAll::new(objects.into_iter().map(|object| Arc::clone(object.handle())).collect())
    }

    /// Waits until `count` of the objects are there or have failed, or `timeout` is over; says which ones are.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tandem::prelude::*;
    ///
    /// async fn fastest(ctx: &Context, answers: Vec<ObjectRef<String>>) -> Result<String> {
    ///     let Waited { ready, pending } = ctx.wait(&answers, 1, Duration::from_secs(10)).await;
    ///     pending.iter().for_each(|slow| slow.cancel(ctx));
    ///     let Some(first) = ready.first() else { tandem::bail!("nobody answered") };
    ///     Ok(first.await?)
    /// }
    /// ```
    pub async fn wait<T>(
        &self,
        objects: &[ObjectRef<T>],
        count: usize,
        timeout: impl Into<Option<Duration>>,
    ) -> Waited<T> {
        let handles: Vec<_> = objects.iter().map(|object| Arc::clone(object.handle())).collect();
        let watching = Watching::new(handles, count);
        match timeout.into() {
            // Either way the objects are looked at below.
            Some(timeout) => drop(tokio::time::timeout(timeout, watching).await),
            None => watching.await,
        }
        let (ready, pending) = objects.iter().cloned().partition(|object| object.handle().is_there());
        Waited { ready, pending }
    }

    /// Keeps a value as an object, to be passed to many calls but sent only once.
    ///
    /// # Errors
    /// When the value cannot be written, or there is no room for it.
    pub fn put<T: Data>(&self, value: &T) -> Result<ObjectRef<T>, Failure> {
        let object = self.process.new_ids(1);
        let Built { value, kept } = build_within(&self.process, value, INLINE_BYTES, || object)?;
        let handle = self.process.objects().insert(&self.process, object);
        self.process.send(ToNode::Put { object, value });
        drop(kept);
        Ok(ObjectRef::new(handle))
    }

    /// Whether someone wants this call to end. An async function is dropped at its next `await` then; any other should ask
    /// from time to time.
    pub fn is_cancelled(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_cancelled())
    }

    /// Ends when this call is to end; never for the main program.
    pub async fn cancelled(&self) {
        match &self.call {
            Some(call) => call.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Runs a future from a function that is not async, such as `ctx.block_on(ctx.get(&object))?`. While a task waits for
    /// objects, others use its slot.
    ///
    /// # Errors
    /// What the future says, or that the call was cancelled while it waited.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        crate::executor::block_on(&self.process, calls::current().or_else(|| self.call.clone()), future)
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.process.welcome().job
    }

    /// The job's name.
    pub fn job_name(&self) -> &str {
        &self.process.welcome().job_name
    }

    /// The name of the worker that this code runs on.
    pub fn worker_name(&self) -> &str {
        &self.process.welcome().worker_name
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("job", &self.job()).field("call", &self.parent()).finish_non_exhaustive()
    }
}
