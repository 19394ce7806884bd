use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Int64Array, RecordBatch};
use async_trait::async_trait;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use futures::{StreamExt, poll};
use tandem_proto::v1::FailureKind;
use tokio::sync::Semaphore;

use super::*;

/// Gives rows back, one call for each permit, and counts calls that are under way.
#[derive(Debug)]
struct Slow {
    permits: Semaphore,
    under_way: AtomicUsize,
    begun: AtomicUsize,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl FunctionRunner for Slow {
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(&self.under_way);
        self.permits.acquire().await.map_err(|error| FunctionError::Lost(error.to_string()))?.forget();
        Ok(call.batches)
    }
}

fn spec(batch_rows: usize) -> FunctionSpec {
    FunctionSpec {
        step: "step".to_owned(),
        function: "f".to_owned(),
        origin: FunctionOrigin::Package,
        args: "{}".to_owned(),
        batch_rows,
        whole: false,
        deterministic: true,
        needs: None,
    }
}

/// Calls for each of 10 rows.
fn calls(functions: &Arc<Slow>) -> datafusion::execution::SendableRecordBatchStream {
    let values = Arc::new(Int64Array::from_iter_values(0..10)) as _;
    let batch = RecordBatch::try_from_iter([("v", values)]).unwrap();
    let schema = batch.schema();
    let input = MemorySourceConfig::try_new_exec(&[vec![batch]], schema.clone(), None).unwrap();
    let call = FunctionExec::new(Arc::new(spec(1)), schema, input);
    let functions = Arc::new(Functions(Arc::clone(functions) as _));
    let context = TaskContext::default().with_session_config(SessionConfig::new().with_extension(functions));
    call.execute(0, Arc::new(context)).unwrap()
}

#[tokio::test]
async fn no_more_is_called_than_is_asked_for_and_dropping_ends_calls() {
    let functions =
        Arc::new(Slow { permits: Semaphore::new(0), under_way: AtomicUsize::new(0), begun: AtomicUsize::new(0) });
    let under_way = || functions.under_way.load(Ordering::Relaxed);
    let mut rows = calls(&functions);
    assert_eq!(under_way(), 0, "nothing is called before someone asks");
    assert!(poll!(rows.next()).is_pending());
    assert_eq!(under_way(), 2);
    functions.permits.add_permits(1);
    assert!(rows.next().await.unwrap().is_ok());
    assert!(functions.begun.load(Ordering::Relaxed) <= 3);
    drop(rows);
    assert_eq!(under_way(), 0);
}

#[tokio::test]
async fn a_lost_process_is_worth_another_attempt() {
    let functions =
        Arc::new(Slow { permits: Semaphore::new(0), under_way: AtomicUsize::new(0), begun: AtomicUsize::new(0) });
    functions.permits.close();
    let error = crate::error::TaskError::from(calls(&functions).next().await.unwrap().unwrap_err());
    assert_eq!(error.kind(), FailureKind::Retry);
    assert!(error.to_string().starts_with("function `f` of step `step`, batch 1 of partition 0, rows 1 to 1: "));
}

#[test]
fn errors_say_whether_to_try_again() {
    for (error, kind) in [
        (FunctionError::Lost("x".to_owned()), FailureKind::Retry),
        (FunctionError::Resources("x".to_owned()), FailureKind::Resources),
        (FunctionError::Failed("x".to_owned()), FailureKind::Fatal),
        (FunctionError::Unknown("x".to_owned()), FailureKind::Fatal),
        (FunctionError::Mismatch("x".to_owned()), FailureKind::Fatal),
    ] {
        assert_eq!(error.retryable(), kind != FailureKind::Fatal);
        assert_eq!(error.at("here").kind(), kind);
    }
}
