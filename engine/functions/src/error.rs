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
    /// A model cannot be used.
    #[error("{0}")]
    Model(String),
    /// Arrow refused the rows.
    #[error("{0}")]
    Arrow(#[from] ArrowError),
}

impl CallError {
    /// Arguments that are not those of the function, without the place in a text that nobody wrote.
    pub(crate) fn args(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        Self::Args(reason.to_owned())
    }

    /// A model that cannot be used, with all causes; some errors tell those themselves.
    pub(crate) fn model(error: &(dyn std::error::Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |error| error.source());
        Self::Model(causes.map(ToString::to_string).fold(error.to_string(), |told, cause| {
            if told.contains(&cause) { told } else { format!("{told}: {cause}") }
        }))
    }
}
