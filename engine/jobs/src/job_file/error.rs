//! How a job file can be wrong, and where.

/// What is wrong with a job file, named by file and line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}: {message}")]
pub struct JobFileError {
    /// The file, as the user named it.
    pub origin: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
    /// What to do, if there is one thing to do.
    pub help: Option<String>,
}

impl JobFileError {
    /// The same error with a hint.
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<JobFileError> for tandem_exec::error::PlanError {
    fn from(error: JobFileError) -> Self {
        Self::Invalid { message: error.to_string(), help: error.help }
    }
}
