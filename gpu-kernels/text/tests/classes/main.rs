//! The crate through its public interface: against answers of scikit-learn and vaderSentiment, and against what must hold
//! for any texts.

mod classify;
mod corpus;
mod golden;
mod heads;
mod tfidf;
mod vader;

use std::num::NonZeroUsize;

/// A number of threads.
fn threads(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("not 0")
}
