//! The items of a task or method that yields them, as its caller gets them.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Polled, Poll, ready};

use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{CallId, ObjectId};

use super::TaskCall;
use super::returns::{Handles, Returns};
use crate::calls::Waiting;
use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::objects::{Gate, Handle};
use crate::process::Process;

/// So many items may be yielded that their consumer has not taken.
const WINDOW: u32 = 16;
/// And so many at most: each costs an object of the consumer's worker.
const MAX_WINDOW: u32 = 1 << 16;

/// The items that a task, or a method of an actor, yields, each of which can be used as soon as it is there.
///
/// They come in the order in which they were yielded, each once, even if the task had to run again. The task waits when it has
/// yielded as many as its [`window`](TaskCall::window) and none of them was taken. Each item is an object of its own: it can be
/// passed on, and stays as long as there is a ref to it. When the stream is dropped, the task is cancelled, and the items that
/// were not taken are let go of.
///
/// An actor is not what it was when it is called again: if it is lost after the first item of a stream, the stream ends with a failure of the
/// kind [`ActorGone`](crate::FailureKind::ActorGone), also where its calls are made again.
pub struct ObjectStream<T> {
    /// What the task returns, which is there when all its items are.
    returned: Arc<Handle>,
    /// Items that may be yielded, in order.
    items: VecDeque<Arc<Handle>>,
    ended: bool,
    item: PhantomData<fn() -> T>,
}

impl<T> ObjectStream<T> {
    fn new(returned: Arc<Handle>, window: u32) -> Self {
        let mut stream = Self { returned, items: VecDeque::new(), ended: false, item: PhantomData };
        stream.want(window.clamp(1, MAX_WINDOW));
        stream
    }

    /// The next item; none after the last one. If the task fails, that comes as the last one, behind all that it has yielded.
    pub async fn next(&mut self) -> Option<Result<ObjectRef<T>, Failure>> {
        Next { stream: self, waits: None }.await
    }

    /// As [`Self::next`].
    ///
    /// # Errors
    /// When the task has failed.
    pub async fn try_next(&mut self) -> Result<Option<ObjectRef<T>>, Failure> {
        self.next().await.transpose()
    }

    /// Ends the task, and all that it has submitted, as [`ObjectRef::cancel`] does. Unless it was done before, the stream ends with a failure
    /// of the kind [`Cancelled`](crate::FailureKind::Cancelled).
    pub fn cancel(&self, ctx: &Context) {
        self.cancel_with(ctx.process(), false);
    }

    /// As [`Self::cancel`], but ends the process of the task after a grace if it goes on.
    pub fn cancel_by_force(&self, ctx: &Context) {
        self.cancel_with(ctx.process(), true);
    }

    fn cancel_with(&self, process: &Process, force: bool) {
        if self.returned.never_sent().is_none() {
            process.send(ToNode::Cancel { call: self.call(), force });
        }
    }

    fn call(&self) -> CallId {
        CallId(self.returned.id().0)
    }

    /// Makes room for more items.
    fn want(&mut self, count: u32) {
        let Some(process) = self.returned.process() else { return };
        let first = process.new_ids(count);
        let items: Vec<_> = (0..count).map(|index| ObjectId(first.0 + u128::from(index))).collect();
        self.items.extend(items.iter().map(|item| {
            let handle = process.objects().insert(process, *item);
            handle.will_be_told();
            handle
        }));
        process.send(ToNode::WantItems { call: self.call(), items });
    }

    /// What comes next, if that is known.
    fn take(&mut self) -> Option<Option<Result<ObjectRef<T>, Failure>>> {
        if self.ended {
            return Some(None);
        }
        // Looked at first: what was yielded is told before it.
        let end = self.returned.known();
        if let Some(item) = self.items.pop_front_if(|item| item.is_there()) {
            // Nobody has asked for its value: it was told in place of it that none will come.
            if let Some(Err(failure)) = item.known() {
                return Some(self.end(Some(&failure)));
            }
            if end.is_none() {
                self.want(1);
            }
            return Some(Some(Ok(ObjectRef::new(item))));
        }
        let end = end?;
        Some(self.end(end.err().as_ref()))
    }

    fn end(&mut self, failure: Option<&Arc<Failure>>) -> Option<Result<ObjectRef<T>, Failure>> {
        self.ended = true;
        self.items.clear();
        failure.map(|failure| Err(Failure::clone(failure)))
    }
}

impl<T> fmt::Debug for ObjectStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStream({})", self.call())
    }
}

impl<T> Drop for ObjectStream<T> {
    fn drop(&mut self) {
        if let Some(process) = self.returned.process()
            && self.returned.known().is_none()
        {
            self.cancel_with(process, false);
        }
    }
}

/// Waits for the next item.
struct Next<'a, T> {
    stream: &'a mut ObjectStream<T>,
    waits: Option<Waits>,
}

struct Waits {
    gate: Arc<Gate>,
    item: Option<Arc<Handle>>,
    returned: Arc<Handle>,
    _waiting: Waiting,
}

impl Waits {
    fn begin<T>(stream: &ObjectStream<T>) -> Self {
        let (item, returned) = (stream.items.front().cloned(), Arc::clone(&stream.returned));
        let gate = Arc::new(Gate::new(1, item.iter().map(|item| item.id()).collect()));
        item.iter().for_each(|item| item.watch_for(&gate));
        returned.begin_take(&gate);
        Self { _waiting: Waiting::begin(&gate), gate, item, returned }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.item.iter().for_each(|item| item.forget(&self.gate));
        self.returned.forget(&self.gate);
        self.returned.end_take();
    }
}

impl<T> Future for Next<'_, T> {
    type Output = Option<Result<ObjectRef<T>, Failure>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Polled<'_>) -> Poll<Self::Output> {
        loop {
            if let Some(next) = self.stream.take() {
                return Poll::Ready(next);
            }
            let waits = self.waits.take().unwrap_or_else(|| Waits::begin(self.stream));
            let waits = self.waits.insert(waits);
            ready!(waits.gate.poll(cx));
            self.waits = None;
        }
    }
}

/// What a task or method with the option `stream` returns.
pub struct Streamed<T>(PhantomData<T>);

impl<T> Returns for Streamed<T> {
    type Refs = ObjectStream<T>;
    const COUNT: u32 = 1;
    const STREAMS: bool = true;

    fn refs(handles: Handles) -> ObjectStream<T> {
        Self::refs_within(handles, WINDOW)
    }

    fn refs_within(mut handles: Handles, window: u32) -> ObjectStream<T> {
        ObjectStream::new(handles.0.remove(0), window)
    }
}

impl<A, T> TaskCall<'_, A, Streamed<T>> {
    /// How many items may be yielded that were not taken: 1 to 65,536, and 16 unless said.
    #[must_use]
    pub fn window(mut self, items: u32) -> Self {
        self.window = Some(items);
        self
    }
}
