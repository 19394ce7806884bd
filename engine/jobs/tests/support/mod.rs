//! Runs a planned job to its end in this process: every task on one worker, then commit and report.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::stream::BoxStream;
use tandem_exec::function::{FunctionCall, FunctionError, FunctionRunner};
use tandem_exec::shuffle::{FetchError, FetchRemote};
use tandem_exec::sink::{SinkCommit, publish};
use tandem_exec::storage::Storage;
use tandem_exec::task::{LoadedStage, TaskEnvironment, run_task};
use tandem_graph::{Stage, TaskWork};
use tandem_jobs::builtin;
use tandem_jobs::planned::PlannedJob;
use tandem_jobs::planner::{ClusterShape, plan};
use tandem_jobs::report::Summary;
use tandem_proto::{JobId, WorkerId, v1};
use tandem_store::{ShuffleStore, StoreConfig};
use tempfile::TempDir;

const JOB: JobId = JobId(7);

/// Plans, runs, commits and reports a built-in job; paths are relative to `folder`.
pub(crate) async fn run_built_in(name: &str, params: &[(&str, &str)], folder: &Path, slots: u32) -> Summary {
    let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let file = builtin::job_file(name, &params, folder.to_str().expect("a UTF-8 path")).expect("a built-in job");
    let spec = v1::JobSpec { work: Some(v1::job_spec::Work::File(file)), ..Default::default() };
    let planned = plan(&spec, &ClusterShape { slots }).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    run(&planned).await
}

async fn run(planned: &PlannedJob) -> Summary {
    let spill = TempDir::new().expect("a folder");
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let store = ShuffleStore::new(StoreConfig::new(spill.path().join("spill"), 256 << 20), pool).expect("a store");
    let functions = Arc::new(BuiltIns);
    let environment = TaskEnvironment { store, remote: Arc::new(NoPeers), worker: WorkerId(1), functions };
    let mut status = v1::JobStatus { job: JOB.0, name: planned.name.clone(), ..Default::default() };
    let mut files = Vec::new();
    for stage in &planned.graph.stages {
        for finished in run_stage(planned, stage, &environment).await {
            status.counts.extend(finished.metrics.unwrap_or_default().counts);
            files.extend(finished.files);
        }
    }
    let storage = Arc::new(Storage::new(BTreeMap::new()));
    for sink in &planned.sinks {
        let commit = SinkCommit { spec: sink.clone(), job: JOB, files: files.clone() };
        publish(&commit, &storage).await.expect("published");
    }
    status.set_state(v1::JobState::Succeeded);
    Summary::new(&status, &planned.report)
}

async fn run_stage(planned: &PlannedJob, stage: &Stage, environment: &TaskEnvironment) -> Vec<v1::TaskFinished> {
    let inputs = stage.inputs.iter().map(|input| {
        let partitions = planned.graph.stage(*input).partitions as usize;
        v1::StageInput {
            stage: input.0,
            workers: vec![v1::WorkerAddress { worker: environment.worker.0, data_address: String::new() }],
            worker_of: vec![0; partitions],
            attempt_of: vec![0; partitions],
        }
    });
    let definition = v1::StageDefinition {
        plan: stage.plan.clone(),
        inputs: inputs.collect(),
        settings: planned.settings.options.clone().into_iter().collect(),
        share_plan: stage.share_plan,
        ..Default::default()
    };
    let per_task = if stage.share_plan { stage.partitions } else { 1 };
    let tasks: Vec<TaskWork> =
        (0..stage.partitions / per_task).map(|task| TaskWork::whole(task * per_task..(task + 1) * per_task)).collect();
    let mut finished = Vec::with_capacity(tasks.len());
    for (index, work) in tasks.iter().enumerate() {
        let loaded = LoadedStage::new(definition.clone(), &Arc::new(RuntimeEnv::default())).expect("a good stage");
        let attempt = v1::TaskAttempt { job: JOB.0, stage: stage.id.0, task: index as u32, attempt: 0 };
        let done = run_task(environment, &loaded, attempt, work, &Arc::default()).await;
        finished.push(done.unwrap_or_else(|error| panic!("stage {}: {error}\n{}", stage.id.0, stage.display)));
    }
    finished
}

/// Calls built-in functions here, where the product calls them in executors.
#[derive(Debug)]
struct BuiltIns;

#[async_trait]
impl FunctionRunner for BuiltIns {
    async fn call(&self, call: FunctionCall) -> Result<Vec<RecordBatch>, FunctionError> {
        let name = &call.spec.function;
        let function = tandem_functions::find(name).ok_or_else(|| FunctionError::Unknown(name.clone()))?;
        function
            .call(&call.spec.args, &call.batches, &mut tandem_functions::Work::default())
            .map_err(|error| FunctionError::Failed(error.to_string()))
    }
}

/// There is one worker, so nothing is ever fetched.
#[derive(Debug)]
struct NoPeers;

#[async_trait]
impl FetchRemote for NoPeers {
    async fn fetch(
        &self,
        worker: WorkerId,
        _address: &str,
        _request: v1::FetchRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError> {
        Err(FetchError::NotFound { partition: None, reason: format!("there is no worker {worker}") })
    }
}
