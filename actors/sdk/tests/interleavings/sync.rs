//! What the files of the crate find here.

pub(crate) use loom::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
pub(crate) use loom::sync::mpsc::{Receiver, Sender, channel};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

pub(crate) mod thread {
    use std::time::Duration;

    pub(crate) use loom::thread::Builder;

    /// Others go first; there is no time.
    pub(crate) fn sleep(_: Duration) {
        loom::thread::yield_now();
    }
}

/// As that of `futures`.
#[derive(Debug, Default)]
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn wake(&self) {
        self.0.wake();
    }
}
