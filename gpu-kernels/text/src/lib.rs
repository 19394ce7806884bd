//! What texts say, as numbers: sentence vectors of a user's own model, classes, tone.
//! Slices of texts in, numbers out; nothing here knows of jobs or tables.

pub mod embed;
mod folder;
pub mod model;
pub mod wordpiece;

pub use folder::LoadError;
