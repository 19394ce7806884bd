//! Steps that are functions, called in executors of their job: rows go there as Arrow values and come back as such.
//! Who makes a call has a slot of its own; the call runs in its place, with what else it has.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use tandem_actor_protocol::failure::{Failure, FailureKind as Kind};
use tandem_actor_protocol::value::Format;
use tandem_exec::function::{FunctionCall, FunctionError, FunctionOrigin, FunctionRunner};
use tandem_proto::JobId;
use tandem_runtime::{Argument, Part, Place, RuntimeHandle};

use super::tables;

/// The function that executors of this binary have all built-in ones behind; see `tandem_functions::ENTRY`.
const BUILT_IN_ENTRY: &str = "tandem::built_in";

/// Calls functions in executors.
#[derive(Debug, Clone)]
pub(crate) struct ExecutorFunctions {
    runtime: RuntimeHandle,
    /// Where the calls of one attempt run, one at a time, if that has more than a slot.
    place: Option<Arc<Place>>,
}

impl ExecutorFunctions {
    pub(super) fn new(runtime: RuntimeHandle) -> Self {
        Self { runtime, place: None }
    }

    /// The same for one attempt that has more than a slot, of which so many thousandths of GPUs.
    pub(crate) fn in_place(&self, job: JobId, gpus_milli: u64) -> Self {
        Self { runtime: self.runtime.clone(), place: Some(Arc::new(self.runtime.take_place(job, gpus_milli))) }
    }

    /// The attempt has ended: waits until nothing that it called uses what it has any more.
    pub(crate) async fn finish(&self) {
        if let Some(place) = &self.place {
            place.give_back().await;
        }
    }
}

#[async_trait]
impl FunctionRunner for ExecutorFunctions {
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        let FunctionCall { job, spec, input, batches, .. } = call;
        let parts = tables::encode(&input, &batches).map_err(|error| FunctionError::Mismatch(error.to_string()))?;
        let mut args = vec![Argument { format: Format::Arrow, parts }];
        let function = match spec.origin {
            FunctionOrigin::BuiltIn => {
                let name = format!("\"{}\"", spec.function);
                args.extend([json(spec.args.clone()), json(name)]);
                BUILT_IN_ENTRY
            }
            FunctionOrigin::Package => {
                args.extend(spec.given_args().map(|args| json(args.to_owned())));
                spec.function.as_str()
            }
        };
        let place = self.place.as_deref();
        let mut returned = self.runtime.call_function(job, place, function, args, 1).await.map_err(failed)?;
        match returned.pop() {
            Some(Part { format: Format::Arrow, bytes }) => {
                let rows = tables::decode(bytes).map_err(|error| FunctionError::Mismatch(error.to_string()))?;
                Ok(rows.batches)
            }
            Some(_) | None => Err(FunctionError::Mismatch("it returned something other than rows".to_owned())),
        }
    }
}

fn json(text: String) -> Argument {
    Argument { format: Format::Json, parts: vec![text.into()] }
}

fn failed(failure: Failure) -> FunctionError {
    let message = failure.to_string();
    match failure.kind {
        Kind::ProcessLost | Kind::WorkerLost | Kind::TimedOut | Kind::Cancelled => FunctionError::Lost(message),
        Kind::MemoryLimit | Kind::StoreFull => FunctionError::Resources(message),
        Kind::NotFound => FunctionError::Unknown(message),
        Kind::Mismatch => FunctionError::Mismatch(message),
        Kind::Returned
        | Kind::Panicked
        | Kind::Dependency
        | Kind::ActorGone
        | Kind::TooManyPending
        | Kind::ObjectLost
        | Kind::Unschedulable
        | Kind::Deadlock
        | Kind::NameTaken => FunctionError::Failed(message),
    }
}
