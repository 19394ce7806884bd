//! Work on pieces of a slice that need nothing from each other, so that any number of threads gives the same result.

use std::num::NonZeroUsize;
use std::sync::Mutex;

use crate::KernelError;

/// Calls `work` with each piece and its number, on `threads` threads that claim pieces in order. `own` makes what a thread has for
/// itself, before its first piece.
pub fn claim<P, Own>(
    threads: NonZeroUsize,
    pieces: impl IntoIterator<Item = P, IntoIter: ExactSizeIterator + Send>,
    own: impl Fn() -> Own + Sync,
    work: impl Fn(&mut Own, usize, P) + Sync,
) {
    let pieces = pieces.into_iter();
    let count = pieces.len();
    let queue = Mutex::new(pieces.enumerate());
    let run = || {
        let mut of_thread = None;
        loop {
            let next = queue.lock().expect("taking a piece does not panic").next();
            let Some((number, piece)) = next else { break };
            work(of_thread.get_or_insert_with(&own), number, piece);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.get().min(count) {
            scope.spawn(run);
        }
        run();
    });
}

/// Calls `work` with each piece of `piece` values of `out` (the last may be shorter) and the number of the piece, on
/// `threads` threads that claim pieces in order.
///
/// # Errors
/// [`KernelError::Parameter`] for 0 threads, else the error of the first piece that has one.
pub(crate) fn for_pieces<T: Send>(
    threads: usize,
    out: &mut [T],
    piece: usize,
    work: impl Fn(usize, &mut [T]) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    for_each_piece(threads, out.chunks_mut(piece), || (), |(), number, piece| work(number, piece))
}

/// As [`for_pieces`] for pieces that are there already, with something that each thread makes for itself before its
/// first piece.
///
/// # Errors
/// As [`for_pieces`].
pub(crate) fn for_each_piece<P, Own>(
    threads: usize,
    pieces: impl IntoIterator<Item = P, IntoIter: ExactSizeIterator + Send>,
    own: impl Fn() -> Own + Sync,
    work: impl Fn(&mut Own, usize, P) -> Result<(), KernelError> + Sync,
) -> Result<(), KernelError> {
    let threads = check_threads(threads)?;
    let first_error: Mutex<Option<(usize, KernelError)>> = Mutex::new(None);
    claim(threads, pieces, own, |own, number, piece| {
        if let Err(error) = work(own, number, piece) {
            let mut first = first_error.lock().expect("keeping an error does not panic");
            if first.as_ref().is_none_or(|(earlier, _)| number < *earlier) {
                *first = Some((number, error));
            }
        }
    });
    let first = first_error.into_inner().expect("keeping an error does not panic");
    first.map_or(Ok(()), |(_, error)| Err(error))
}

/// Refuses to work on no thread at all.
///
/// # Errors
/// [`KernelError::Parameter`].
pub fn check_threads(threads: usize) -> Result<NonZeroUsize, KernelError> {
    NonZeroUsize::new(threads).ok_or(KernelError::Parameter { name: "threads", value: 0.0, expected: "1 or more" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_visited_once_on_any_number_of_threads() {
        for (threads, len, piece) in [(1, 10, 3), (3, 10, 3), (8, 2, 1), (2, 0, 4)] {
            let mut out = vec![0; len];
            let add = |number: usize, values: &mut [usize]| {
                values.iter_mut().enumerate().for_each(|(at, value)| *value += number * piece + at + 1);
                Ok(())
            };
            for_pieces(threads, &mut out, piece, add).expect("no piece fails");
            assert!(out.into_iter().eq(1..=len));
        }
    }

    #[test]
    fn the_first_error_counts_and_no_threads_are_refused() {
        let fail =
            |number, _: &mut [u8]| if number % 2 == 1 { Err(KernelError::Singular { row: number }) } else { Ok(()) };
        for threads in [1, 2, 5] {
            assert_eq!(for_pieces(threads, &mut [0; 9], 1, fail), Err(KernelError::Singular { row: 1 }));
        }
        assert!(for_pieces(0, &mut [0; 9], 1, fail).is_err());
    }
}
