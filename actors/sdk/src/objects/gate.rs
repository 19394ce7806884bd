//! What waits for a number of objects.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Opens when as many objects have arrived as it waits for, or one that has failed.
#[derive(Debug)]
pub(crate) struct Gate {
    missing: AtomicUsize,
    failed: AtomicBool,
    waker: AtomicWaker,
}

impl Gate {
    pub(crate) fn new(missing: usize) -> Self {
        Self { missing: AtomicUsize::new(missing), failed: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// One of them is there.
    pub(crate) fn arrive(&self) {
        let before = self.missing.fetch_update(Ordering::AcqRel, Ordering::Acquire, |missing| missing.checked_sub(1));
        if before == Ok(1) {
            self.waker.wake();
        }
    }

    /// One of them will never be there.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ready when it is open.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        let open = self.failed.load(Ordering::Acquire) || self.missing.load(Ordering::Acquire) == 0;
        if open { Poll::Ready(()) } else { Poll::Pending }
    }
}
