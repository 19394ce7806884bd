//! Texts as rows of weighted terms: TF-IDF by the rules of scikit-learn's `TfidfVectorizer`.
//!
//!   texts ─► words ─► n-grams ─► [`TermCounts`] ─finish─► [`Tfidf`] ─► rows, l2 norm 1
//!                                  └ merged over workers, in any order
//!
//!   idf(t) = ln((1 + n) / (1 + texts with t)) + 1        without smoothing: ln(n / texts with t) + 1
//!   row(t) = times t is in the text × idf(t), or (1 + ln times) × idf(t)
//!
//! Where more terms are equally frequent than `max_features` has room for, the first in the order of the vocabulary are
//! kept. scikit-learn leaves this to a sort that is not stable and differs between processors, so nobody can agree with it.

mod analyze;
mod count;
mod model;
mod stop_words;
mod word_flips;

pub use analyze::Analyzer;
pub use count::{Frequency, TermCounts, TfidfOptions};
pub(crate) use model::RowBuffer;
pub use model::Tfidf;
pub use stop_words::english_stop_words;
