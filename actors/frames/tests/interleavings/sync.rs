//! What the queue finds here: Tokio's own types, but each call is a step that those of other threads come before or behind, in
//! every order. Whom a step wakes is told at its end, since the model checker may hold a thread up wherever it tells another
//! one, and that must not be while a lock of Tokio's is held.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Wake, Waker};

use loom::sync::atomic::AtomicUsize;
pub(crate) use loom::sync::{Mutex, MutexGuard};
use tokio::sync::{AcquireError, SemaphorePermit, TryAcquireError};

#[derive(Debug)]
pub(crate) struct Notify(Steps<tokio::sync::Notify>);

impl Notify {
    pub(crate) fn new() -> Self {
        Self(Steps::of(tokio::sync::Notify::new()))
    }

    pub(crate) fn notify_one(&self) {
        self.0.step(|notify| notify.notify_one());
    }

    pub(crate) async fn notified(&self) {
        self.0.wait(self.0.tokio.notified()).await;
    }
}

#[derive(Debug)]
pub(crate) struct Semaphore(Steps<tokio::sync::Semaphore>);

impl Semaphore {
    pub(crate) const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    pub(crate) fn new(permits: usize) -> Self {
        Self(Steps::of(tokio::sync::Semaphore::new(permits)))
    }

    pub(crate) fn try_acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.0.step(|semaphore| semaphore.try_acquire_many(permits))
    }

    pub(crate) async fn acquire_many(&self, permits: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.0.wait(self.0.tokio.acquire_many(permits)).await
    }

    pub(crate) fn add_permits(&self, permits: usize) {
        self.0.step(|semaphore| semaphore.add_permits(permits));
    }

    pub(crate) fn close(&self) {
        self.0.step(|semaphore| semaphore.close());
    }
}

/// A type of Tokio's that is used in steps.
#[derive(Debug)]
struct Steps<T> {
    tokio: T,
    order: AtomicUsize,
    woken: Arc<Woken>,
}

impl<T> Steps<T> {
    fn of(tokio: T) -> Self {
        Self { tokio, order: AtomicUsize::new(0), woken: Arc::default() }
    }

    fn step<'a, R>(&'a self, act: impl FnOnce(&'a T) -> R) -> R {
        self.order.fetch_add(1, Ordering::AcqRel);
        let done = act(&self.tokio);
        self.woken.tell();
        done
    }

    async fn wait<F: Future>(&self, future: F) -> F::Output {
        let mut relay = None;
        let mut future = pin!(future);
        poll_fn(|cx| {
            let relay = relay.get_or_insert_with(|| {
                Waker::from(Arc::new(Relay { to: cx.waker().clone(), woken: Arc::clone(&self.woken) }))
            });
            self.step(|_| future.as_mut().poll(&mut Context::from_waker(relay)))
        })
        .await
    }
}

/// Those that a step has woken.
#[derive(Debug, Default)]
struct Woken(std::sync::Mutex<Vec<Arc<Relay>>>);

impl Woken {
    fn tell(&self) {
        let woken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        woken.iter().for_each(|relay| relay.to.wake_by_ref());
    }
}

/// A waker for Tokio.
#[derive(Debug)]
struct Relay {
    to: Waker,
    woken: Arc<Woken>,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        let woken = Arc::clone(&self.woken);
        woken.0.lock().unwrap_or_else(PoisonError::into_inner).push(self);
    }
}
