//! Runs one task attempt: decodes the stage's plan, executes the task's partitions, and keeps or writes what comes out.
//!
//! ```text
//!  StageDefinition ─decode_stage─▶ plan ─execute(p)─▶ batches ─┬─ Whole ─▶ store, output 0
//!        inputs ───TaskInputs──────────┘                       ├─ Hash ──▶ store, output hash(keys) mod n
//!                                                              ├─ Spread ▶ store, output microbatch mod n
//!                                                              └─ Sink ──▶ staged files
//! ```
//!
//! Dropping the future of [`run_task`] cancels the attempt; nothing of its output is then visible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::Time;
use datafusion::physical_plan::repartition::BatchPartitioner;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tandem_graph::TaskWork;
use tandem_proto::v1::{self, OperatorMetrics, TaskMetrics};
use tandem_proto::{Attempt, JobId, PartitionId, StageId, WorkerId};
use tandem_store::{OutputKey, OutputSummary, OutputWriter, ShuffleStore, StoreError};

use crate::codec::{StageOutput, StagePlan, decode_stage};
use crate::error::{PlanError, TaskError};
use crate::function::{FunctionRunner, Functions, batch_number};
use crate::partition::{PartitionPlan, number_whole, select};
use crate::scope::TaskScope;
use crate::session::QuerySettings;
use crate::shuffle::{FetchRemote, InputLocations, Producer, TaskInputs};
use crate::sink;
use crate::source::pin_file_scans;
use crate::sql_functions::add_functions;
use crate::stop::stoppable;
use crate::storage::Storage;

/// What all tasks of a worker share.
#[derive(Debug, Clone)]
pub struct TaskEnvironment {
    /// The worker that this process is.
    pub worker: WorkerId,
    /// Where output is kept.
    pub store: Arc<ShuffleStore>,
    /// How other workers' output is read.
    pub remote: Arc<dyn FetchRemote>,
    /// How functions are called.
    pub functions: Arc<dyn FunctionRunner>,
}

/// What all stages of a job share on a worker. Its functions are made once: that takes longer than a small stage runs.
pub struct JobSession {
    storage: Arc<Storage>,
    /// Settings, functions and runtime of the query; each attempt adds its own scope and inputs.
    context: Arc<TaskContext>,
}

impl JobSession {
    /// A session with the settings of a stage, to be run with the memory and disk of `runtime`.
    ///
    /// # Errors
    /// An unknown setting.
    pub fn new(
        options: BTreeMap<String, String>,
        storage: Arc<Storage>,
        runtime: &RuntimeEnv,
    ) -> Result<Self, TaskError> {
        let fatal = |error: PlanError| TaskError::Fatal(error.to_string());
        let mut state = SessionStateBuilder::new()
            .with_config(QuerySettings { options }.config().map_err(fatal)?)
            .with_runtime_env(storage.runtime(runtime))
            .with_default_features()
            .build();
        add_functions(&mut state).map_err(|error| TaskError::Fatal(error.to_string()))?;
        Ok(Self { storage, context: state.task_ctx() })
    }
}

/// A stage as a worker keeps it: everything its tasks need, for one version of the locations of its inputs.
pub struct LoadedStage {
    /// The job's name, for logs.
    pub job_name: String,
    plan: Bytes,
    session: Arc<JobSession>,
    inputs: BTreeMap<StageId, InputLocations>,
    share_plan: bool,
}

impl LoadedStage {
    /// Takes over what the coordinator sent, to be run with the memory and disk of `runtime`.
    ///
    /// # Errors
    /// A message that contradicts itself, or an unknown setting.
    pub fn new(mut definition: v1::StageDefinition, runtime: &RuntimeEnv) -> Result<Self, TaskError> {
        let environment = std::mem::take(&mut definition.environment).into_iter().collect();
        let options = std::mem::take(&mut definition.settings).into_iter().collect();
        let session = JobSession::new(options, Arc::new(Storage::new(environment)), runtime)?;
        Self::with_session(definition, Arc::new(session))
    }

    /// The same, in the session of its job, whatever settings and environment `definition` has.
    ///
    /// # Errors
    /// A message that contradicts itself.
    pub fn with_session(definition: v1::StageDefinition, session: Arc<JobSession>) -> Result<Self, TaskError> {
        Ok(Self {
            job_name: definition.job_name,
            plan: definition.plan,
            session,
            inputs: definition.inputs.into_iter().map(locations).collect::<Result<_, _>>()?,
            share_plan: definition.share_plan,
        })
    }

    /// The context of one attempt: this stage's, plus what operators find through `scope`, `inputs` and `functions`.
    fn attempt_context(
        &self,
        scope: &Arc<TaskScope>,
        inputs: &Arc<TaskInputs>,
        functions: &Arc<dyn FunctionRunner>,
    ) -> Arc<TaskContext> {
        let base = &self.session.context;
        let config = Arc::clone(scope).attach(base.session_config().clone()).with_extension(Arc::clone(inputs));
        let config = config.with_extension(Arc::new(Functions(Arc::clone(functions))));
        Arc::new(TaskContext::new(
            Some(scope.unique_name()),
            base.session_id(),
            config,
            base.scalar_functions().clone(),
            base.higher_order_functions().clone(),
            base.aggregate_functions().clone(),
            base.window_functions().clone(),
            base.runtime_env(),
        ))
    }
}

fn locations(input: v1::StageInput) -> Result<(StageId, InputLocations), TaskError> {
    let broken = || TaskError::Fatal(format!("the locations of stage {} contradict themselves", input.stage));
    if input.worker_of.len() != input.attempt_of.len() {
        return Err(broken());
    }
    let producers = input
        .worker_of
        .iter()
        .zip(&input.attempt_of)
        .map(|(&worker, &attempt)| {
            let known = (worker as usize) < input.workers.len();
            known.then_some(Producer { worker, attempt: Attempt(attempt) }).ok_or_else(broken)
        })
        .collect::<Result<_, _>>()?;
    let workers = input.workers.iter().map(|w| (WorkerId(w.worker), w.data_address.clone())).collect();
    Ok((StageId(input.stage), InputLocations { workers, producers }))
}

/// What passes between a running task and whoever runs it: rows and bytes put out so far, and the word to stop.
#[derive(Debug, Default)]
pub struct TaskProgress {
    rows: AtomicU64,
    bytes: AtomicU64,
    stopped: AtomicBool,
}

impl TaskProgress {
    fn add(&self, batch: &RecordBatch) {
        self.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(batch.get_array_memory_size() as u64, Ordering::Relaxed);
    }

    /// Makes the task fail soon, also where it computes without a pause.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Rows and bytes so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.rows.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}

/// Runs `work` of a stage for one attempt.
///
/// # Errors
/// See [`TaskError`]; after an error nothing of the attempt's output is visible.
pub async fn run_task(
    environment: &TaskEnvironment,
    stage: &LoadedStage,
    attempt: v1::TaskAttempt,
    work: &TaskWork,
    progress: &Arc<TaskProgress>,
) -> Result<v1::TaskFinished, TaskError> {
    let start = Instant::now();
    let task = Task::new(environment, stage, attempt, work, progress);
    let mut summary = OutputSummary::default();
    let mut operators = OperatorTotals::default();
    if stage.share_plan {
        let StagePlan { plan, output } = task.load()?;
        let partitions = work.partitions.iter().map(|&partition| partition as usize);
        let mut running: FuturesUnordered<_> = partitions
            .zip(work.outputs())
            .map(|(partition, number)| task.run_partition(&plan, &output, partition, number))
            .collect();
        while let Some(output) = running.next().await {
            add_summary(&mut summary, &output?);
        }
        drop(running);
        operators.add(&plan, &number_whole(&plan));
    } else {
        for (partitions, number) in work.parts().into_iter().zip(work.outputs()) {
            let StagePlan { plan, output } = task.load()?;
            let PartitionPlan { plan, nodes } = select(&plan, &partitions, task.options())?;
            add_summary(&mut summary, &task.run_partition(&plan, &output, 0, number).await?);
            operators.add(&plan, &nodes);
        }
    }
    let (local, remote, wait) = task.inputs.traffic.totals();
    Ok(v1::TaskFinished {
        partition_sizes: summary.bytes_per_output.iter().map(|&bytes| log_size(bytes)).collect(),
        metrics: Some(TaskMetrics {
            counts: task.scope.counts(),
            elapsed_ms: start.elapsed().as_millis() as u64,
            output_rows: summary.rows,
            output_bytes: summary.bytes,
            shuffle_local_bytes: local,
            shuffle_remote_bytes: remote,
            fetch_wait_ms: wait.as_millis() as u64,
            spilled_bytes: summary.spilled_bytes + operators.spilled_bytes(),
            peak_memory_bytes: 0,
            operators: operators.into_metrics(),
        }),
        files: task.scope.files(),
    })
}

/// One attempt while it runs.
struct Task<'a> {
    environment: &'a TaskEnvironment,
    stage: &'a LoadedStage,
    attempt: v1::TaskAttempt,
    progress: &'a Arc<TaskProgress>,
    scope: Arc<TaskScope>,
    inputs: Arc<TaskInputs>,
    context: Arc<TaskContext>,
}

impl<'a> Task<'a> {
    fn new(
        environment: &'a TaskEnvironment,
        stage: &'a LoadedStage,
        attempt: v1::TaskAttempt,
        work: &TaskWork,
        progress: &'a Arc<TaskProgress>,
    ) -> Self {
        let scope = Arc::new(TaskScope::new(attempt, Arc::clone(&stage.session.storage)));
        let inputs = Arc::new(TaskInputs {
            job: JobId(attempt.job),
            here: environment.worker,
            store: Arc::clone(&environment.store),
            remote: Arc::clone(&environment.remote),
            stages: stage.inputs.iter().map(|(id, locations)| (*id, locations.clone())).collect(),
            slice: work.slice.clone(),
            traffic: Default::default(),
        });
        let context = stage.attempt_context(&scope, &inputs, &environment.functions);
        Self { environment, stage, attempt, progress, scope, inputs, context }
    }

    /// A fresh instance of the stage's plan.
    fn load(&self) -> Result<StagePlan, TaskError> {
        let StagePlan { plan, output } = decode_stage(&self.stage.plan, &self.context)?;
        pin_file_scans(&plan, &self.stage.session.storage);
        Ok(StagePlan { plan: stoppable(plan, self.progress)?, output })
    }

    fn options(&self) -> &ConfigOptions {
        self.context.session_config().options()
    }

    /// Executes partition `index` of `plan` and keeps what comes out as output `number`.
    async fn run_partition(
        &self,
        plan: &Arc<dyn ExecutionPlan>,
        output: &StageOutput,
        index: usize,
        number: u32,
    ) -> Result<OutputSummary, TaskError> {
        let batches = plan.execute(index, Arc::clone(&self.context))?;
        match output {
            StageOutput::Sink(spec) => {
                let progress = Arc::clone(self.progress);
                let batches = observe(batches, move |batch| progress.add(batch));
                sink::write_partition(spec, number, batches, &self.scope, &self.context).await?;
                Ok(OutputSummary::default())
            }
            StageOutput::Whole => self.keep(number, batches, Dealing::Whole).await,
            StageOutput::Hash { keys, outputs } => {
                let partitioner = BatchPartitioner::new_hash_partitioner(keys.clone(), *outputs, Time::default())?;
                self.keep(number, batches, Dealing::Hash(Box::new(partitioner), *outputs)).await
            }
            StageOutput::Spread { outputs } => self.keep(number, batches, Dealing::Spread(*outputs)).await,
        }
    }

    /// Puts all batches of one partition into the store.
    async fn keep(
        &self,
        number: u32,
        mut batches: SendableRecordBatchStream,
        mut dealing: Dealing,
    ) -> Result<OutputSummary, TaskError> {
        let v1::TaskAttempt { job, stage, attempt, .. } = self.attempt;
        let key = OutputKey {
            job: JobId(job),
            stage: StageId(stage),
            partition: PartitionId(number),
            attempt: Attempt(attempt),
        };
        let mut writer = self.environment.store.writer(key, batches.schema(), dealing.outputs());
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            self.progress.add(&batch);
            push(&mut writer, &mut dealing, batch).await?;
        }
        writer.finish().await.map_err(from_store)
    }
}

/// Which output each row goes to.
enum Dealing {
    Whole,
    Hash(Box<BatchPartitioner>, usize),
    Spread(usize),
}

impl Dealing {
    fn outputs(&self) -> usize {
        match self {
            Self::Whole => 1,
            Self::Hash(_, outputs) | Self::Spread(outputs) => *outputs,
        }
    }
}

async fn push(writer: &mut OutputWriter, dealing: &mut Dealing, batch: RecordBatch) -> Result<(), TaskError> {
    let output = match dealing {
        Dealing::Hash(partitioner, _) => {
            for piece in partitioner.partition_iter(batch)? {
                let (output, batch) = piece?;
                writer.push(output, batch).await.map_err(from_store)?;
            }
            return Ok(());
        }
        Dealing::Whole => 0,
        Dealing::Spread(outputs) => batch_number(&batch)?.map_or(0, |number| (number % *outputs as u64) as usize),
    };
    writer.push(output, batch).await.map_err(from_store)
}

fn from_store(error: StoreError) -> TaskError {
    match error {
        StoreError::NoSpace { .. } => TaskError::Resources(error.to_string()),
        other => TaskError::Retry(other.to_string()),
    }
}

/// The same batches, each shown to `see` first.
fn observe(
    batches: SendableRecordBatchStream,
    see: impl Fn(&RecordBatch) + Send + 'static,
) -> SendableRecordBatchStream {
    let schema = batches.schema();
    let observed = batches.inspect(move |batch| {
        if let Ok(batch) = batch {
            see(batch);
        }
    });
    Box::pin(datafusion::physical_plan::stream::RecordBatchStreamAdapter::new(schema, observed))
}

fn add_summary(total: &mut OutputSummary, one: &OutputSummary) {
    if total.bytes_per_output.len() < one.bytes_per_output.len() {
        total.bytes_per_output.resize(one.bytes_per_output.len(), 0);
    }
    for (total, bytes) in total.bytes_per_output.iter_mut().zip(&one.bytes_per_output) {
        *total += bytes;
    }
    total.rows += one.rows;
    total.bytes += one.bytes;
    total.spilled_bytes += one.spilled_bytes;
}

/// A size in one byte: 0 for none, else `ceil(8 log2 bytes) + 1`, which is right within 9 %. Sizes over 4 GiB share 255.
pub fn log_size(bytes: u64) -> u8 {
    if bytes == 0 { 0 } else { ((bytes as f64).log2() * 8.0).ceil().min(254.0) as u8 + 1 }
}

/// Metrics of the operators of a stage plan, summed over the partitions a task ran.
#[derive(Default)]
struct OperatorTotals(BTreeMap<u32, OperatorMetrics>);

impl OperatorTotals {
    /// Adds what the nodes of `plan` measured; `nodes` says which node of the stage plan each stands for, in pre-order.
    fn add(&mut self, plan: &Arc<dyn ExecutionPlan>, nodes: &[Option<u32>]) {
        let mut nodes = nodes.iter().copied();
        self.visit(plan, &mut nodes);
    }

    fn visit(&mut self, plan: &Arc<dyn ExecutionPlan>, nodes: &mut dyn Iterator<Item = Option<u32>>) {
        if let Some(node) = nodes.next().flatten() {
            let total = self.0.entry(node).or_insert_with(|| OperatorMetrics {
                node,
                name: plan.name().to_owned(),
                ..Default::default()
            });
            if let Some(metrics) = plan.metrics() {
                total.output_rows += metrics.output_rows().unwrap_or(0) as u64;
                total.elapsed_ns += metrics.elapsed_compute().unwrap_or(0) as u64;
                total.spilled_bytes += metrics.spilled_bytes().unwrap_or(0) as u64;
            }
        }
        for child in plan.children() {
            self.visit(child, nodes);
        }
    }

    fn spilled_bytes(&self) -> u64 {
        self.0.values().map(|operator| operator.spilled_bytes).sum()
    }

    fn into_metrics(self) -> Vec<OperatorMetrics> {
        self.0.into_values().collect()
    }
}
