//! One attempt of a call as a future: it ends when the call's own future does, panics, is cancelled or takes too long; and
//! while it only waits for objects, the slot of its call is lent to others. A call may have several of them at once, each with what it
//! waits for; the slot is that of all.
//!
//! ```text
//!   Running ─idle for a moment, waits for objects─► Blocked ─has something to do─► Resuming ─slot is back─► Running
//! ```

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::node::ToNode;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::panics;
use crate::calls::{Alarm, Call, Waiter, within_waiter};
use crate::process::Process;

/// A shorter wait is not worth to give the slot away: it takes the node longer to use it.
const GRACE: Duration = Duration::from_millis(1);
/// Whether a call that waits for so long can be woken by nothing but objects is worth to be known.
const STILL: Duration = Duration::from_secs(1);

/// Why a call was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    Cancelled,
    TimedOut,
    Panicked(String),
}

/// See the module's header.
pub(crate) struct Attempt<F> {
    process: Arc<Process>,
    call: Arc<Call>,
    waiter: Arc<Waiter>,
    future: Pin<Box<F>>,
    place: Place,
    deadline: Option<Pin<Box<Sleep>>>,
    alarm: Arc<Alarm>,
    /// This is all that the call does.
    alone: bool,
    /// When it has waited for objects for long.
    still: Option<Pin<Box<Sleep>>>,
}

enum Place {
    Running {
        /// When it has been idle for long enough.
        grace: Option<Pin<Box<Sleep>>>,
    },
    Blocked,
    Resuming,
}

impl<F: Future> Attempt<F> {
    pub(crate) fn new(process: Arc<Process>, call: Arc<Call>, timeout: Option<Duration>, future: F) -> Self {
        let waiter = call.wait_at();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        let (place, alarm) = (Place::Running { grace: None }, Arc::new(Alarm(Arc::clone(&waiter))));
        Self { process, call, waiter, future: Box::pin(future), place, deadline, alarm, alone: true, still: None }
    }

    /// One of those futures that a call waits for at once, on threads of its own.
    pub(crate) fn among_others(mut self) -> Self {
        self.alone = false;
        self
    }

    fn poll_own(&mut self) -> Poll<Result<F::Output, Ended>> {
        let waker = Waker::from(Arc::clone(&self.alarm));
        let mut cx = Context::from_waker(&waker);
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| within_waiter(&self.call, &self.waiter, || future.poll(&mut cx)))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Ended::Panicked(panics::message(&*payload)))),
        }
    }

    /// Goes on as far as there is something to do.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, Ended>> {
        loop {
            match &mut self.place {
                Place::Running { .. } if self.waiter.take_woken() => {
                    if let Poll::Ready(ended) = self.poll_own() {
                        return Poll::Ready(ended);
                    }
                    let waits = self.waiter.waits_for_objects();
                    self.still = (waits && self.alone && self.deadline.is_none()).then(|| Box::pin(sleep(STILL)));
                    // An actor keeps its place while it waits.
                    let lends = waits && self.call.actor.is_none();
                    let grace = lends.then(|| Box::pin(sleep(GRACE)));
                    self.place = Place::Running { grace };
                    self.process.transport().flush();
                }
                Place::Running { grace: Some(grace) } => {
                    if grace.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.process.block(&self.call);
                    self.place = Place::Blocked;
                }
                Place::Running { grace: None } => return Poll::Pending,
                Place::Blocked if self.waiter.is_woken() => {
                    self.process.unblock(&self.call);
                    self.place = Place::Resuming;
                }
                // It was given back for another one of the call, and is lent again if that does not last.
                Place::Blocked if self.call.has_slot() => {
                    self.place = Place::Running { grace: Some(Box::pin(sleep(GRACE))) };
                }
                Place::Blocked => return Poll::Pending,
                Place::Resuming if self.call.has_slot() => self.place = Place::Running { grace: None },
                Place::Resuming => return Poll::Pending,
            }
        }
    }
}

impl<F> Attempt<F> {
    /// Tells the node what the call waits for, if that is all that it waits for.
    fn tell_stuck(&self) {
        let Some(objects) = self.waiter.waits_only_for(&self.alarm) else { return };
        let there = |object: &ObjectId| self.process.objects().get(*object).is_none_or(|handle| handle.is_there());
        let objects: Vec<_> = objects.into_iter().filter(|object| !there(object)).collect();
        if !objects.is_empty() && !self.waiter.is_woken() {
            self.process.send(ToNode::Stuck { call: self.call.id, objects });
            self.process.transport().flush();
        }
    }
}

impl<F: Future> Future for Attempt<F> {
    type Output = Result<F::Output, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // What happens from now on wakes the task up.
        self.waiter.register(cx);
        if self.call.is_cancelled() {
            return Poll::Ready(Err(Ended::Cancelled));
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(Ended::TimedOut));
        }
        if let Poll::Ready(ended) = self.advance(cx) {
            return Poll::Ready(ended);
        }
        if self.still.as_mut().is_some_and(|still| still.as_mut().poll(cx).is_ready()) {
            self.still = None;
            self.tell_stuck();
        }
        Poll::Pending
    }
}

impl<F> Drop for Attempt<F> {
    fn drop(&mut self) {
        self.call.leave(&self.waiter);
    }
}
