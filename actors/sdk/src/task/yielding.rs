//! How a task or method yields items: as many as its caller has made room for, then it waits.
//! Invariant: the first item of an attempt is the first of the sequence, whatever of it is there already.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;

use crate::calls::{Call, Waiting};
use crate::context::Context;
use crate::inputs::{CallOutcome, Outputs};
use crate::objects::Gate;
use crate::process::Process;
use crate::value::{Data, build};

/// What a task or method with the option `stream` yields its items with, its last parameter.
///
/// ```
/// use tandem::prelude::*;
///
/// #[tandem::task(stream)]
/// async fn squares(first: u64, to: Yield<u64>) -> Result<()> {
///     for n in first.. {
///         to.send(&(n * n)).await?;
///     }
///     Ok(())
/// }
///
/// async fn first_above(ctx: &Context, limit: u64) -> Result<u64> {
///     let mut squares = squares::submit(ctx, 1_u64);
///     while let Some(square) = squares.try_next().await? {
///         let square = square.await?;
///         if square > limit {
///             return Ok(square); // the stream is dropped, and the task ends
///         }
///     }
///     unreachable!("it goes on for ever")
/// }
/// ```
pub struct Yield<T> {
    process: Arc<Process>,
    call: Arc<Call>,
    item: PhantomData<fn(T)>,
}

impl<T: Data> Yield<T> {
    /// Yields an item, after waiting until its caller has room for it. Others use the slot of the task meanwhile; an actor keeps its place.
    ///
    /// An attempt of a task after a loss yields the same items in the same order as the one before. Those that are there already are not written again.
    ///
    /// # Errors
    /// When the item cannot be written, or the task is to end.
    pub async fn send(&self, item: &T) -> Result<(), Failure> {
        let yields = yields(&self.call)?;
        let Some(index) = (Admission { call: &self.call, yields, waits: None }).await? else { return Ok(()) };
        let built = build(&self.process, item).inspect_err(|failure| yields.fail(failure))?;
        let (call, attempt, value) = (self.call.id, yields.attempt, built.value);
        self.process.send(ToNode::Yield { call, attempt, index, value });
        drop(built.kept);
        Ok(())
    }
}

impl<T> Yield<T> {
    #[doc(hidden)]
    pub fn of(ctx: &Context) -> Result<Self, Failure> {
        let wrong = || Failure::new(FailureKind::Mismatch, "", "it was not called as one that yields items");
        let call = ctx.call().filter(|call| call.yields.is_some()).ok_or_else(wrong)?;
        Ok(Self { process: Arc::clone(ctx.process()), call: Arc::clone(call), item: PhantomData })
    }

    /// Another one for the same items.
    #[doc(hidden)]
    pub fn again(&self) -> Self {
        Self { process: Arc::clone(&self.process), call: Arc::clone(&self.call), item: PhantomData }
    }

    /// Nothing more is yielded: what is returned is how many items there were.
    #[doc(hidden)]
    pub fn end(self, ctx: &Context) -> CallOutcome {
        Outputs::one(ctx, &yields(&self.call)?.end()?)
    }
}

impl<T> fmt::Debug for Yield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Yield({})", self.call.id)
    }
}

fn yields(call: &Call) -> Result<&Yields, Failure> {
    call.yields.as_ref().ok_or_else(over)
}

fn over() -> Failure {
    Failure::new(FailureKind::Cancelled, "", "the call has ended: nothing is yielded any more")
}

/// How far an attempt is, and how far it may go.
#[derive(Debug)]
pub(crate) struct Yields {
    attempt: u32,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Number of the next item.
    next: u64,
    /// Which items are wanted. The last range ends where items have to wait.
    wanted: VecDeque<(u64, u64)>,
    /// Why no item comes any more.
    ended: Option<Failure>,
    waiting: Vec<Arc<Gate>>,
}

impl Yields {
    pub(crate) fn new(attempt: u32, wanted: Vec<(u64, u64)>) -> Self {
        let state = State { next: 0, wanted: wanted.into(), ended: None, waiting: Vec::new() };
        Self { attempt, state: Mutex::new(state) }
    }

    /// Items up to before this number may come.
    pub(crate) fn may_yield(&self, until: u64) {
        let mut state = self.lock();
        match state.wanted.back_mut() {
            Some((_, end)) => *end = until.max(*end),
            None => state.wanted.push_back((until, until)),
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.iter().for_each(|gate| gate.arrive());
    }

    /// The number of the next item, and whether that is wanted; or a gate that opens when there may be one.
    fn admit(&self) -> Result<Result<(u64, bool), Arc<Gate>>, Failure> {
        let mut state = self.lock();
        if let Some(failure) = &state.ended {
            return Err(failure.clone());
        }
        let index = state.next;
        while state.wanted.len() > 1 && state.wanted.front().is_some_and(|(_, end)| *end <= index) {
            state.wanted.pop_front();
        }
        match state.wanted.front() {
            Some((first, end)) if index < *end => {
                let wanted = *first <= index;
                state.next += 1;
                Ok(Ok((index, wanted)))
            }
            // A range without items is where to wait.
            Some((first, _)) if index < *first => {
                state.next += 1;
                Ok(Ok((index, false)))
            }
            _ => {
                let gate = Arc::new(Gate::new(1, Box::default()));
                state.waiting.push(Arc::clone(&gate));
                Ok(Err(gate))
            }
        }
    }

    /// An item could not be written: there can be none after it.
    fn fail(&self, failure: &Failure) {
        self.lock().ended = Some(failure.clone());
    }

    fn forget(&self, gate: &Arc<Gate>) {
        self.lock().waiting.retain(|other| !Arc::ptr_eq(other, gate));
    }

    /// How many there were.
    fn end(&self) -> Result<u64, Failure> {
        let mut state = self.lock();
        match state.ended.replace(over()) {
            Some(failure) => Err(failure),
            None => Ok(state.next),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until an item may come. Gives its number if it is wanted.
struct Admission<'a> {
    call: &'a Arc<Call>,
    yields: &'a Yields,
    waits: Option<(Arc<Gate>, Waiting)>,
}

impl Future for Admission<'_> {
    type Output = Result<Option<u64>, Failure>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        loop {
            if self.call.is_cancelled() {
                return Poll::Ready(Err(Failure::new(FailureKind::Cancelled, "", "cancelled")));
            }
            if let Some((gate, _)) = &self.waits {
                ready!(gate.poll(cx));
                self.waits = None;
            }
            match self.yields.admit()? {
                Ok((index, wanted)) => return Poll::Ready(Ok(wanted.then_some(index))),
                Err(gate) => self.waits = Some((Arc::clone(&gate), Waiting::begin(&gate))),
            }
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let Some((gate, _)) = &self.waits {
            self.yields.forget(gate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of items until one must wait.
    fn admitted(yields: &Yields) -> Vec<(u64, bool)> {
        std::iter::from_fn(|| yields.admit().expect("it goes on").ok()).collect()
    }

    #[test]
    fn an_attempt_yields_what_is_missing_and_waits_where_its_window_ends() {
        let yields = Yields::new(2, vec![(1, 2), (4, 5)]);
        assert_eq!(admitted(&yields), [(0, false), (1, true), (2, false), (3, false), (4, true)]);
        yields.may_yield(7);
        assert_eq!(admitted(&yields), [(5, true), (6, true)]);
        yields.may_yield(6);
        assert_eq!(admitted(&yields), []);
        assert_eq!((yields.end(), yields.end().is_err()), (Ok(7), true));
    }

    #[test]
    fn an_attempt_without_anything_missing_waits_behind_what_is_there() {
        let yields = Yields::new(1, vec![(3, 3)]);
        assert_eq!(admitted(&yields), [(0, false), (1, false), (2, false)]);
        yields.may_yield(4);
        assert_eq!(admitted(&yields), [(3, true)]);
    }

    #[test]
    fn nothing_comes_after_an_item_that_could_not_be_written() {
        let yields = Yields::new(0, vec![(0, 2)]);
        let failure = Failure::new(FailureKind::StoreFull, "", "no room");
        assert!(yields.admit().is_ok());
        yields.fail(&failure);
        assert_eq!((yields.admit().expect_err("no more"), yields.end()), (failure.clone(), Err(failure)));
    }
}
