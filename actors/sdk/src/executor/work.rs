//! What the node has sent to be run and has not begun.
//! Invariant: a job is in the queue, or it was begun, or it was given back; never two of them.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, PoisonError};
use std::task::Poll;

use tandem_actor_protocol::{ActorId, CallId};

use crate::calls::Call;
use crate::sync::{AtomicWaker, Condvar, Mutex, MutexGuard};
use crate::value::Fetched;

/// One attempt of a task, or one call of an actor.
pub(crate) struct Job {
    pub(crate) call: Arc<Call>,
    pub(crate) attempt: u32,
    /// Function or method.
    pub(crate) function: String,
    pub(crate) actor: Option<ActorId>,
    pub(crate) args: Vec<Fetched>,
    pub(crate) returns: u32,
    /// 0 is for ever.
    pub(crate) timeout_ms: u64,
    /// Variables of this call alone.
    pub(crate) environment: BTreeMap<String, String>,
}

/// An actor to start.
pub(crate) struct Birth {
    pub(crate) actor: ActorId,
    pub(crate) call: Arc<Call>,
    pub(crate) attempt: u32,
    pub(crate) class: String,
    pub(crate) args: Vec<Fetched>,
    pub(crate) checkpoint: Option<Fetched>,
    pub(crate) concurrency: u32,
    /// What its calls return is held until a checkpoint covers it.
    pub(crate) held: bool,
}

/// Something to do.
pub(crate) enum Work {
    Run(Job),
    Start(Birth),
    /// This call of an actor was taken out of the queue, and its end said.
    Taken(Arc<Call>),
    End(ActorId),
}

/// Work in the order in which it came.
#[derive(Default)]
pub(crate) struct WorkQueue {
    state: Mutex<State>,
    filled: Condvar,
    waker: AtomicWaker,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Work>,
    closed: bool,
}

impl WorkQueue {
    pub(crate) fn push(&self, work: Work) {
        self.lock().waiting.push_back(work);
        self.tell();
    }

    /// Nothing more comes.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.tell();
    }

    /// The next thing to do, as soon as there is one; none at the end.
    pub(crate) fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            match state.waiting.pop_front() {
                Some(work) => return Some(work),
                None if state.closed => return None,
                None => state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// As [`Self::next`], for a thread that does other things too.
    pub(crate) async fn next_async(&self) -> Option<Work> {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            let mut state = self.lock();
            match state.waiting.pop_front() {
                None if !state.closed => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Takes back up to `count` tasks, the last ones first.
    pub(crate) fn take_back(&self, count: usize) -> Vec<CallId> {
        let mut state = self.lock();
        let is_task = |work: &&Work| matches!(work, Work::Run(job) if job.actor.is_none());
        let count = state.waiting.iter().rev().take_while(is_task).take(count).count();
        let kept = state.waiting.len() - count;
        // Their arguments are dropped once the lock is.
        let taken = state.waiting.split_off(kept);
        drop(state);
        taken.iter().filter_map(|work| if let Work::Run(job) = work { Some(job.call.id) } else { None }).collect()
    }

    /// Takes out a task that has not begun.
    pub(crate) fn remove(&self, call: CallId) -> Option<Job> {
        let mut state = self.lock();
        let at = state.waiting.iter().position(|work| matches!(work, Work::Run(job) if job.call.id == call))?;
        match state.waiting.remove(at) {
            Some(Work::Run(job)) => Some(job),
            _ => None,
        }
    }

    fn tell(&self) {
        self.filled.notify_one();
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
