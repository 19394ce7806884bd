//! Why a function has no rows to give.

use arrow::error::ArrowError;

/// What is wrong with a call.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The arguments are not those of the function.
    #[error("wrong arguments: {0}")]
    Args(String),
    /// A column is missing or of another type.
    #[error("{0}")]
    Column(String),
    /// Arrow refused the rows.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}
