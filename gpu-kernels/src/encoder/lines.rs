//! Numbers that start on a cache line, so that no register of 64 bytes is read from two.

use std::ops::{Deref, DerefMut};

/// A slice of numbers of 4 bytes that starts on a cache line.
#[derive(Debug, Default)]
pub(super) struct Lines<T> {
    buffer: Vec<T>,
    start: usize,
    len: usize,
}

/// Numbers of a cache line.
const LINE: usize = 16;

impl<T: Copy + Default> Lines<T> {
    /// `len` zeros.
    pub(super) fn zeros(len: usize) -> Self {
        const { assert!(size_of::<T>() == 4, "a line has sixteen") };
        let buffer = vec![T::default(); len + LINE - 1];
        // An allocator may give any alignment; `align_offset` may say "never", which costs time only.
        let start = buffer.as_ptr().align_offset(4 * LINE).min(LINE - 1);
        Self { buffer, start, len }
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}
