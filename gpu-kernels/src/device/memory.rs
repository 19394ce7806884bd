//! Memory of a device, memory of the host that a device can reach, and the budget of a handle.

use std::marker::PhantomData;
use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::executor::Shared;
use super::{Argument, DeviceError};
use crate::funk::Rating;

/// Values that are nothing but their bits.
///
/// # Safety
/// Every pattern of bits is a value, and there is no padding.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

// SAFETY: numbers are nothing but their bits.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}
// SAFETY: as above.
unsafe impl Plain for f64 {}
// SAFETY: three numbers of four bytes each, in C's layout.
unsafe impl Plain for Rating {}

/// How many bytes a handle may hold on its device, and how many it holds.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { limit_bytes, used_bytes: AtomicU64::new(0) }
    }

    pub(super) fn free(&self) -> u64 {
        self.limit_bytes.saturating_sub(self.used_bytes.load(Ordering::Relaxed))
    }

    /// Takes bytes, or none if that would be too many.
    pub(super) fn charge(&self, bytes: u64) -> Result<(), DeviceError> {
        let take = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.limit_bytes);
        let taken = self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(|_| ()).map_err(|used| DeviceError::OutOfMemory {
            asked_bytes: bytes,
            free_bytes: self.limit_bytes.saturating_sub(used),
        })
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// `len` values on a device, given back when dropped. Values are in the order of the device's compute stream.
pub struct Buffer<T: Plain> {
    pub(super) shared: Arc<Shared>,
    pub(super) address: u64,
    pub(super) len: usize,
    pub(super) charged_bytes: u64,
    pub(super) values: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at `index`, and those behind it, as a kernel's parameter.
    pub(crate) fn at(&self, index: usize) -> Argument {
        assert!(index <= self.len, "a part of a buffer lies within it");
        Argument::U64(self.address + (index * size_of::<T>()) as u64)
    }

    /// Bytes of its values.
    pub(super) fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the address was allocated for this buffer, all its uses are queued on the compute stream before, and
        // transfers on the other stream own their buffer until they are done.
        unsafe { self.shared.backend.release(self.address) };
        self.shared.budget.give_back(self.charged_bytes);
    }
}

/// `len` values in host memory that a device copies from and to without help: what overlapping transfers need.
pub struct Pinned<T: Plain> {
    pub(super) shared: Arc<Shared>,
    pub(super) pointer: *mut T,
    pub(super) len: usize,
}

// SAFETY: it owns its values, as a boxed slice does.
unsafe impl<T: Plain> Send for Pinned<T> {}
// SAFETY: as above.
unsafe impl<T: Plain> Sync for Pinned<T> {}

impl<T: Plain> std::ops::Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the memory has that many values, set to 0 at the start, and no transfer uses it while it is here.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }
}

impl<T: Plain> std::ops::DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and there is no other reference.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }
}

impl<T: Plain> Drop for Pinned<T> {
    fn drop(&mut self) {
        // SAFETY: it was allocated for this, and transfers own their memory until they are done.
        unsafe { self.shared.backend.release_host(self.pointer.cast()) };
    }
}
