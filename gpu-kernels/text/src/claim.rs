//! Batches of a slice that threads claim in order and that need nothing from each other, so that any number of threads
//! gives the same result.

use std::num::NonZeroUsize;

use tandem_kernels::parallel::claim;

/// Calls `work` with each batch of `size` values of `out` (the last may be shorter) and the position of its first value.
/// Each thread has a desk of its own from `desk`, for buffers that batches share.
pub(crate) fn for_batches<T: Send, D>(
    threads: NonZeroUsize,
    out: &mut [T],
    size: usize,
    desk: impl Fn() -> D + Sync,
    work: impl Fn(&mut D, usize, &mut [T]) + Sync,
) {
    claim(threads, out.chunks_mut(size), desk, |desk, number, batch| work(desk, number * size, batch));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_visited_once_on_any_number_of_threads() {
        for (threads, len, size) in [(1, 10, 3), (3, 10, 3), (8, 2, 1), (2, 0, 4)] {
            let mut out = vec![0; len];
            let add = |_: &mut (), first: usize, values: &mut [usize]| {
                values.iter_mut().enumerate().for_each(|(at, value)| *value += first + at + 1);
            };
            for_batches(NonZeroUsize::new(threads).expect("not 0"), &mut out, size, || (), add);
            assert!(out.into_iter().eq(1..=len));
        }
    }
}
