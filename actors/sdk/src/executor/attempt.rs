//! One attempt of a call as a future: it ends when the call's own future does, panics, is cancelled or takes too long; and
//! while it only waits for objects, its slot is lent to others.
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

use tandem_actor_protocol::node::ToNode;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::panics;
use crate::calls::{Call, within};
use crate::process::Process;

/// A shorter wait is not worth to give the slot away: it takes the node longer to use it.
const GRACE: Duration = Duration::from_millis(1);

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
    future: Pin<Box<F>>,
    place: Place,
    deadline: Option<Pin<Box<Sleep>>>,
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
        call.wake_up();
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let deadline = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { process, call, future: Box::pin(future), place: Place::Running { grace: None }, deadline }
    }

    fn poll_own(&mut self) -> Poll<Result<F::Output, Ended>> {
        let waker = Waker::from(Arc::clone(&self.call));
        let mut cx = Context::from_waker(&waker);
        let future = self.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| within(&self.call, || future.poll(&mut cx)))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Ended::Panicked(panics::message(&*payload)))),
        }
    }

    /// Goes on as far as there is something to do.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<F::Output, Ended>> {
        loop {
            match &mut self.place {
                Place::Running { .. } if self.call.take_woken() => {
                    if let Poll::Ready(ended) = self.poll_own() {
                        return Poll::Ready(ended);
                    }
                    // An actor keeps its place while it waits.
                    let lends = self.call.actor.is_none() && self.call.is_waiting();
                    let grace = lends.then(|| Box::pin(sleep(GRACE)));
                    self.place = Place::Running { grace };
                    self.process.transport().flush();
                }
                Place::Running { grace: Some(grace) } => {
                    if grace.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.process.block(self.call.id);
                    self.place = Place::Blocked;
                }
                Place::Running { grace: None } => return Poll::Pending,
                Place::Blocked if self.call.is_woken() => {
                    self.process.send(ToNode::Unblocked(self.call.id));
                    self.process.transport().flush();
                    self.place = Place::Resuming;
                }
                Place::Blocked => return Poll::Pending,
                Place::Resuming if self.call.take_resumed() => self.place = Place::Running { grace: None },
                Place::Resuming => return Poll::Pending,
            }
        }
    }
}

impl<F: Future> Future for Attempt<F> {
    type Output = Result<F::Output, Ended>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.register(cx);
        if self.call.is_cancelled() {
            return Poll::Ready(Err(Ended::Cancelled));
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(Ended::TimedOut));
        }
        if let Poll::Ready(ended) = self.advance(cx) {
            return Poll::Ready(ended);
        }
        // A function that blocks inside of this one has registered itself in place of this.
        self.call.register(cx);
        let changed = match self.place {
            Place::Running { .. } | Place::Blocked => self.call.is_woken(),
            Place::Resuming => false,
        };
        if changed || self.call.is_cancelled() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
