//! How functions are reached: the worker calls them in executors, tests in their own process.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use tandem_proto::JobId;

use super::spec::FunctionSpec;
use crate::error::TaskError;

/// One call: a function and the rows it is to work on.
#[derive(Debug, Clone)]
pub struct FunctionCall {
    /// The job that the step belongs to.
    pub job: JobId,
    /// The function and its arguments.
    pub spec: Arc<FunctionSpec>,
    /// The columns of `batches`.
    pub input: SchemaRef,
    /// The columns that are to come back.
    pub output: SchemaRef,
    /// The rows, in order. There may be none when the function is called for all rows at once.
    pub batches: Vec<RecordBatch>,
}

/// Calls functions. Dropping the future of a call cancels it.
#[async_trait]
pub trait FunctionRunner: std::fmt::Debug + Send + Sync {
    /// What the function makes of the rows, in order. The caller compares its columns with those of the step.
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError>;
}

/// Why a call gave no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// Its process or its worker was lost, or it took too long: the next attempt may go well.
    #[error("{0}")]
    Lost(String),
    /// A memory or disk limit of this worker.
    #[error("{0}")]
    Resources(String),
    /// The function returned an error or panicked; it would do so again.
    #[error("{0}")]
    Failed(String),
    /// There is no such function.
    #[error("{0}")]
    Unknown(String),
    /// It takes other arguments, or gave something other than rows.
    #[error("{0}")]
    Mismatch(String),
}

impl FunctionError {
    /// Whether another attempt may end otherwise.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Resources(_) => true,
            Self::Failed(_) | Self::Unknown(_) | Self::Mismatch(_) => false,
        }
    }

    /// The failure of the attempt that made the call; `place` names the function, its step and the rows.
    pub(super) fn at(self, place: impl std::fmt::Display) -> TaskError {
        let message = format!("{place}: {self}");
        match self {
            Self::Lost(_) => TaskError::Retry(message),
            Self::Resources(_) => TaskError::Resources(message),
            Self::Failed(_) | Self::Unknown(_) | Self::Mismatch(_) => TaskError::Fatal(message),
        }
    }
}

/// The runner of those who have no executors.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFunctions;

#[async_trait]
impl FunctionRunner for NoFunctions {
    async fn call(&self, _: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        Err(FunctionError::Unknown("this worker runs no functions".to_owned()))
    }
}

/// The runner, where operators find it.
#[derive(Debug)]
pub(crate) struct Functions(pub(crate) Arc<dyn FunctionRunner>);

impl Functions {
    /// The runner of the task that `context` belongs to.
    pub(super) fn of(context: &TaskContext) -> Result<Arc<dyn FunctionRunner>> {
        let functions = context.session_config().get_extension::<Self>();
        let functions = functions.ok_or_else(|| internal_datafusion_err!("a function was called outside of a task"))?;
        Ok(Arc::clone(&functions.0))
    }
}
