//! Futures of values.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::failure::{Failure, FailureKind};

use crate::calls::Waiting;
use crate::objects::{Gate, Handle, Outcome};
use crate::process::Process;
use crate::value::{Data, adopting};

/// The value of an object, as a future: what awaiting an [`ObjectRef`](crate::ObjectRef) is.
pub struct Get<T> {
    values: Taking,
    value: PhantomData<fn() -> T>,
}

impl<T> Get<T> {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { values: Taking::new(vec![handle]), value: PhantomData }
    }
}

impl<T: Data> Future for Get<T> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.values.poll(cx))?;
        Poll::Ready(read(&self.values.handles[0]))
    }
}

/// The values of many objects, in their order, or the failure of one of them.
pub struct GetAll<T> {
    values: Taking,
    value: PhantomData<fn() -> T>,
}

impl<T> GetAll<T> {
    pub(crate) fn new(handles: Vec<Arc<Handle>>) -> Self {
        Self { values: Taking::new(handles), value: PhantomData }
    }
}

impl<T: Data> Future for GetAll<T> {
    type Output = Result<Vec<T>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.values.poll(cx))?;
        Poll::Ready(self.values.handles.iter().map(read).collect())
    }
}

/// Objects whose values are about to be taken.
struct Taking {
    handles: Vec<Arc<Handle>>,
    waits: Option<Waits>,
}

/// What is there once the objects were asked for.
struct Waits {
    gate: Arc<Gate>,
    _waiting: Waiting,
}

impl Taking {
    fn new(handles: Vec<Arc<Handle>>) -> Self {
        Self { handles, waits: None }
    }

    /// Ready when all have values; an error as soon as one has none.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.waits.is_none() && self.handles.iter().all(|handle| matches!(handle.known(), Some(Ok(_)))) {
            return Poll::Ready(Ok(()));
        }
        let waits = self.waits.get_or_insert_with(|| {
            let gate = Arc::new(Gate::new(self.handles.len(), ids(&self.handles)));
            self.handles.iter().for_each(|handle| handle.begin_take(&gate));
            Waits { _waiting: Waiting::begin(&gate), gate }
        });
        ready!(waits.gate.poll(cx));
        Poll::Ready(match self.handles.iter().find_map(|handle| handle.known().and_then(Outcome::err)) {
            Some(failure) => Err(Failure::clone(&failure)),
            None => Ok(()),
        })
    }
}

impl Drop for Taking {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            let_go(&self.handles, &waits.gate);
        }
    }
}

fn ids(handles: &[Arc<Handle>]) -> Box<[ObjectId]> {
    handles.iter().map(|handle| handle.id()).collect()
}

/// Reads the value of a handle that has one.
fn read<T: Data>(handle: &Arc<Handle>) -> Result<T, Failure> {
    let gone = || Failure::new(FailureKind::ObjectLost, "", "the value was let go of while it was waited for");
    let value = handle.known().ok_or_else(gone)?.map_err(|failure| Failure::clone(&failure))?;
    let read = match handle.process() {
        Some(process) => adopting(process, || T::read(value)),
        None => T::read(value),
    };
    read.map_err(|error| Failure::new(FailureKind::Mismatch, "", error.to_string()))
}

/// Waits until `count` of some objects are there, or have failed; without a limit in time.
pub(crate) struct Watching {
    handles: Vec<Arc<Handle>>,
    count: usize,
    waits: Option<Waits>,
}

impl Watching {
    pub(crate) fn new(handles: Vec<Arc<Handle>>, count: usize) -> Self {
        let count = count.min(handles.len());
        Self { handles, count, waits: None }
    }
}

impl Future for Watching {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { handles, count, waits } = &mut *self;
        if waits.is_none() && handles.iter().filter(|handle| handle.is_there()).take(*count).count() == *count {
            return Poll::Ready(());
        }
        let waits = waits.get_or_insert_with(|| {
            let gate = Arc::new(Gate::new(*count, ids(handles)));
            handles.iter().for_each(|handle| handle.watch_for(&gate));
            Waits { _waiting: Waiting::begin(&gate), gate }
        });
        waits.gate.poll(cx)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            self.handles.iter().for_each(|handle| handle.forget(&waits.gate));
        }
    }
}

/// How objects have ended that have: the first of some, and those that have with it. Brings their values here.
pub(crate) struct FirstEnded {
    handles: Vec<Arc<Handle>>,
    waits: Option<Waits>,
}

impl FirstEnded {
    pub(crate) fn new(handles: Vec<Arc<Handle>>) -> Self {
        Self { handles, waits: None }
    }

    fn ended(&self) -> Vec<(usize, Result<(), Failure>)> {
        let known = self.handles.iter().enumerate().filter_map(|(index, handle)| Some((index, handle.known()?)));
        known.map(|(index, outcome)| (index, outcome.map(drop).map_err(|failure| Failure::clone(&failure)))).collect()
    }
}

impl Future for FirstEnded {
    /// Which, in the order in which they were given, and why there is no value if there is none.
    type Output = Vec<(usize, Result<(), Failure>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = self.ended();
        if self.handles.is_empty() || !ended.is_empty() {
            return Poll::Ready(ended);
        }
        let Self { handles, waits } = &mut *self;
        let waits = waits.get_or_insert_with(|| {
            let gate = Arc::new(Gate::new(1, ids(handles)));
            handles.iter().for_each(|handle| handle.begin_take(&gate));
            Waits { _waiting: Waiting::begin(&gate), gate }
        });
        ready!(waits.gate.poll(cx));
        Poll::Ready(self.ended())
    }
}

impl Drop for FirstEnded {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            let_go(&self.handles, &waits.gate);
        }
    }
}

fn let_go(handles: &[Arc<Handle>], gate: &Arc<Gate>) {
    for handle in handles {
        handle.forget(gate);
        handle.end_take();
    }
}

/// Sends what the future has queued before it waits, so that no other thread must do it.
pub(crate) struct Flushing<F> {
    pub(crate) process: Arc<Process>,
    pub(crate) future: Pin<Box<F>>,
}

impl<F: Future> Future for Flushing<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.future.as_mut().poll(cx);
        if polled.is_pending() {
            self.process.transport().flush();
        }
        polled
    }
}
