//! Multinomial naive Bayes.
//!
//!   score(c | row) = ln P(c) + Σ row(t) ln P(t | c)       P(t | c) = (sum of t in c + α) / (sum of all in c + α terms)
//!
//! [`Sums`] are exact whole numbers, so they can be added up in any order on any number of workers and give the same bits.
//!
//! Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008), chapter 13; defaults and treatment
//! of priors as in scikit-learn's `MultinomialNB`.

mod model;
mod sums;

pub use model::NaiveBayes;
pub(crate) use model::{add_products, best, log_softmax};
pub use sums::{NaiveBayesOptions, Sums};
