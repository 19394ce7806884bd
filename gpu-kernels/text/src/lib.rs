//! What texts say, as numbers: sentence vectors of a user's own model, classes, tone.
//! Slices or columns of texts in, numbers out; nothing here knows of jobs or tables.

mod claim;
pub mod classify;
pub mod columns;
pub mod embed;
mod fit_error;
mod folder;
pub mod logistic;
pub mod model;
pub mod naive_bayes;
mod rows;
mod tensors;
mod terms;
pub mod tfidf;
pub mod vader;
pub mod wordpiece;

pub use fit_error::FitError;
pub use folder::LoadError;
pub use rows::{Row, SparseRows};
/// Devices that models can be brought to.
pub use tandem_kernels::device;
pub use tensors::Malformed;
