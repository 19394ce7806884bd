//! How planning and running fail, split by what the receiver does next.

use std::io;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use tandem_proto::v1::FailureKind;
use tandem_proto::{PartitionId, StageId, WorkerId};

/// Why a task attempt failed. Travels inside a [`DataFusionError::External`] through operators and survives the wire as
/// [`FailureKind`] and message.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskError {
    /// Would fail on any worker: a bad row under `fail`, a broken check, an input that changed. Fails the job.
    #[error("{0}")]
    Fatal(String),
    /// An input is gone and must be made again.
    #[error("output of stage {stage} partition {partition} is no longer on {worker}: {reason}")]
    Lost {
        /// The stage that wrote it.
        stage: StageId,
        /// The partition that wrote it.
        partition: PartitionId,
        /// Where it was.
        worker: WorkerId,
        /// What the read met.
        reason: String,
    },
    /// A memory or disk limit of this worker.
    #[error("{0}")]
    Resources(String),
    /// Anything else; trying again may help.
    #[error("{0}")]
    Retry(String),
}

impl TaskError {
    /// What the coordinator does about it.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Fatal(_) => FailureKind::Fatal,
            Self::Lost { .. } => FailureKind::Fetch,
            Self::Resources(_) => FailureKind::Resources,
            Self::Retry(_) => FailureKind::Retry,
        }
    }
}

impl From<TaskError> for DataFusionError {
    fn from(error: TaskError) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<DataFusionError> for TaskError {
    /// Finds the [`TaskError`] inside, or judges by the kind of error: a plan, schema or arithmetic error is the same anywhere,
    /// a full pool or disk is this worker's, the rest may pass.
    fn from(error: DataFusionError) -> Self {
        if is_full_disk(&error) {
            return Self::Resources(format!("no space left for spilling or staging: {}", error.strip_backtrace()));
        }
        match error {
            DataFusionError::External(inner) => Self::from_external(inner),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::Shared(inner) => Self::from_shared(&inner),
            DataFusionError::ArrowError(inner, _) => match *inner {
                ArrowError::ExternalError(external) => Self::from_external(external),
                ArrowError::IoError(message, _) => Self::Retry(message),
                other => Self::Fatal(arrow_message(&other)),
            },
            error @ DataFusionError::ResourcesExhausted(_) => Self::Resources(error.strip_backtrace()),
            error @ (DataFusionError::Plan(_)
            | DataFusionError::SQL(..)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)) => Self::Fatal(error.strip_backtrace()),
            error => Self::Retry(error.strip_backtrace()),
        }
    }
}

impl TaskError {
    /// The same judgement for an error that passed through another library.
    fn from_external(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(task_error) => return *task_error,
            Err(error) => error,
        };
        match error.downcast::<DataFusionError>() {
            Ok(nested) => Self::from(*nested),
            Err(other) => Self::Retry(other.to_string()),
        }
    }

    /// The same judgement for an error that other holders share.
    fn from_shared(error: &Arc<DataFusionError>) -> Self {
        fn find(error: &(dyn std::error::Error + 'static)) -> Option<TaskError> {
            error.downcast_ref::<TaskError>().cloned().or_else(|| error.source().and_then(find))
        }
        if let Some(task_error) = find(error.as_ref()) {
            return task_error;
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(message) => Self::Resources(message.clone()),
            DataFusionError::Plan(message) | DataFusionError::Configuration(message) => Self::Fatal(message.clone()),
            other => Self::Retry(other.strip_backtrace()),
        }
    }
}

/// Whether a full disk is what `error` comes from, however many libraries have wrapped it.
fn is_full_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    let full = |io: &io::Error| matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let wrapped = |io: &io::Error| io.get_ref().is_some_and(|inner| is_full_disk(inner));
    io.is_some_and(|io| full(io) || wrapped(io)) || error.source().is_some_and(is_full_disk)
}

/// What an error of Arrow says, without the name of its kind.
pub fn arrow_message(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(message)
        | ArrowError::ParseError(message)
        | ArrowError::SchemaError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ArithmeticOverflow(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::NotYetImplemented(message) => message.clone(),
        ArrowError::DivideByZero => "division by zero".to_owned(),
        other => other.to_string(),
    }
}

/// Why a query or job could not be planned. Nothing has run when this is returned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The SQL, a table, a column, a type or a path is wrong; says which and where.
    #[error("{message}")]
    Invalid {
        /// What is wrong and where.
        message: String,
        /// What to do, if there is one thing to do.
        help: Option<String>,
    },
    /// Storage could not be read or was denied.
    #[error("{0}")]
    Storage(String),
    /// DataFusion refused the plan.
    #[error("{}", .0.strip_backtrace())]
    DataFusion(#[from] DataFusionError),
}

impl PlanError {
    /// An [`PlanError::Invalid`] without a hint.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into(), help: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_whatever_it_is_wrapped_in() {
        let full = || DataFusionError::IoError(io::ErrorKind::StorageFull.into());
        let wrapped = [
            full(),
            DataFusionError::External(Box::new(full())),
            DataFusionError::Shared(Arc::new(full())),
            DataFusionError::ArrowError(Box::new(ArrowError::from_external_error(Box::new(full()))), None),
            DataFusionError::IoError(io::Error::other(full())),
        ];
        for error in wrapped {
            let text = error.to_string();
            let error = TaskError::from(error);
            assert!(matches!(&error, TaskError::Resources(message) if message.contains("no space left")), "{text}");
        }
    }
}
