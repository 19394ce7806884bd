//! What waits for a number of objects.

use std::ptr;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use tandem_actor_protocol::ObjectId;

use crate::sync::{AtomicBool, AtomicPtr, AtomicUsize, AtomicWaker};

/// Opens when as many objects have arrived as it waits for, or one that has failed.
#[derive(Debug)]
pub(crate) struct Gate {
    missing: AtomicUsize,
    failed: AtomicBool,
    waker: AtomicWaker,
    /// Of whom it has the waker.
    asked_by: AtomicPtr<()>,
    objects: Box<[ObjectId]>,
}

impl Gate {
    /// A gate that opens when `missing` of the `objects` have arrived.
    pub(crate) fn new(missing: usize, objects: Box<[ObjectId]>) -> Self {
        Self {
            missing: AtomicUsize::new(missing),
            failed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            asked_by: AtomicPtr::new(ptr::null_mut()),
            objects,
        }
    }

    /// What it waits for, or has waited for.
    pub(crate) fn objects(&self) -> &[ObjectId] {
        &self.objects
    }

    /// Whether it wakes the waker with this data.
    pub(crate) fn wakes(&self, data: *const ()) -> bool {
        ptr::eq(self.asked_by.load(Ordering::Acquire), data)
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
        self.asked_by.store(cx.waker().data().cast_mut(), Ordering::Release);
        self.waker.register(cx.waker());
        let open = self.failed.load(Ordering::Acquire) || self.missing.load(Ordering::Acquire) == 0;
        if open { Poll::Ready(()) } else { Poll::Pending }
    }
}
