//! Steps that are functions, called in executors of their job: rows go there as Arrow values and come back as such.
//! Who makes a call has a slot of its own; the call runs in its place.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use tandem_actor_protocol::failure::{Failure, FailureKind as Kind};
use tandem_actor_protocol::value::Format;
use tandem_exec::function::{FunctionCall, FunctionError, FunctionOrigin, FunctionRunner};
use tandem_ipc::{DecodeError, Decoder};
use tandem_runtime::{Argument, Part, RuntimeHandle};

/// The function that executors of this binary have all built-in ones behind; see `tandem_functions::ENTRY`.
const BUILT_IN_ENTRY: &str = "tandem::built_in";
/// What readers of Arrow values expect, to read them where they are.
const ALIGNMENT: usize = 64;

/// Calls functions in executors.
#[derive(Debug)]
pub(crate) struct ExecutorFunctions {
    runtime: RuntimeHandle,
}

impl ExecutorFunctions {
    pub(super) fn new(runtime: RuntimeHandle) -> Self {
        Self { runtime }
    }
}

#[async_trait]
impl FunctionRunner for ExecutorFunctions {
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        let FunctionCall { job, spec, input, batches, .. } = call;
        let rows = encode(&input, &batches).map_err(|error| FunctionError::Mismatch(error.to_string()))?;
        let mut args = vec![Argument { format: Format::Arrow, parts: vec![rows] }];
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
        let mut returned = self.runtime.call_function(job, function, args, 1).await.map_err(failed)?;
        match returned.pop() {
            Some(Part { format: Format::Arrow, bytes }) => {
                decode(bytes).map_err(|error| FunctionError::Mismatch(error.to_string()))
            }
            Some(_) | None => Err(FunctionError::Mismatch("it returned something other than rows".to_owned())),
        }
    }
}

fn json(text: String) -> Argument {
    Argument { format: Format::Json, parts: vec![text.into()] }
}

fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Bytes, ArrowError> {
    let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), schema, options)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    Ok(writer.into_inner()?.into())
}

/// What came from an executor is not believed before it is checked.
fn decode(mut bytes: Bytes) -> Result<Vec<RecordBatch>, DecodeError> {
    let mut decoder = Decoder::new();
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut bytes)? {
        batches.push(batch);
    }
    decoder.finish()?;
    Ok(batches)
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
