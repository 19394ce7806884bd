//! What texts say, as numbers: sentence vectors of a user's own model, classes, tone.
//! Slices of texts in, numbers out; nothing here knows of jobs or tables.

mod claim;
pub mod classify;
mod fit_error;
pub mod logistic;
pub mod naive_bayes;
mod rows;
mod tensors;
mod terms;
pub mod tfidf;
pub mod vader;

pub use fit_error::FitError;
pub use rows::{Row, SparseRows};
pub use tensors::Malformed;
