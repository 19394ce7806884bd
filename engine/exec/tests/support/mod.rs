//! Runs stage graphs in one process on several virtual workers, each with a store of its own, and compares what comes
//! out with single-process DataFusion over the same tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tandem_exec::adaptive::AdaptiveOptions;
use tandem_exec::cutter::GraphBuilder;
use tandem_exec::function::{FunctionRunner, FunctionSpec, NoFunctions, function_plan};
use tandem_exec::hidden;
use tandem_exec::session::QuerySettings;
use tandem_exec::shuffle::{FetchError, FetchRemote};
use tandem_exec::source::{SourceSpec, open_source};
use tandem_exec::storage::Storage;
use tandem_exec::task::{LoadedStage, TaskEnvironment, TaskProgress, run_task};
use tandem_graph::{InputSlice, Stage, StageGraph, StageRole, TaskWork, Variant};
use tandem_ipc::BodyCompression;
use tandem_proto::{Attempt, JobId, PartitionId, StageId, WorkerId, v1};
use tandem_store::{OutputKey, ShuffleStore, StoreConfig, StoreError};
use tempfile::TempDir;

const JOB: JobId = JobId(7);

/// Both sides of a join are exchanged, however small they are.
#[allow(dead_code, reason = "each test binary uses a part of this")]
pub(crate) const EXCHANGED: [(&str, &str); 2] = [
    ("datafusion.optimizer.hash_join_single_partition_threshold", "0"),
    ("datafusion.optimizer.hash_join_single_partition_threshold_rows", "0"),
];

/// Small tables with what breaks engines: nulls in keys, duplicates, skew, an empty table, one row, strings of all
/// lengths, decimals, dates, nested values.
const TABLES: [(&str, &str); 6] = [
    (
        "numbers",
        "SELECT value AS id, CASE WHEN value % 7 = 0 THEN NULL ELSE value % 10 END AS grp, value * 1.5 AS x,
                CAST(value * 100 AS decimal(12, 2)) / 7 AS amount,
                concat('name-', repeat('x', value % 40), CAST(value % 50 AS varchar)) AS name,
                date '2024-01-01' + CAST(value % 365 AS int) AS day
         FROM generate_series(1, 5000)",
    ),
    (
        "facts",
        "SELECT value AS fact_id, CASE WHEN value % 3 = 0 THEN 1 ELSE value % 997 END AS number_id,
                CASE WHEN value % 11 = 0 THEN NULL ELSE value % 5 END AS kind, value % 13 AS quantity,
                named_struct('a', value % 3, 'b', CAST(value % 4 AS varchar)) AS s, [value % 2, value % 3] AS list
         FROM generate_series(1, 20000)",
    ),
    ("kinds", "SELECT value AS kind, concat('kind ', value) AS label FROM generate_series(0, 4)"),
    ("holes", "SELECT CASE WHEN value % 4 = 0 THEN NULL ELSE value END AS number_id FROM generate_series(1, 40)"),
    ("empty", "SELECT CAST(value AS bigint) AS id, 'x' AS name FROM generate_series(1, 1) WHERE value > 1"),
    ("one", "SELECT 1 AS id, 'only' AS name"),
];

async fn write_tables(folder: &Path) {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.sql("SET datafusion.execution.parquet.max_row_group_size = 1000").await.expect("a setting");
    for (name, sql) in TABLES {
        let path = folder.join(format!("{name}.parquet"));
        let copy = format!("COPY ({sql}) TO '{}' STORED AS PARQUET", path.display());
        context.sql(&copy).await.expect("a valid query").collect().await.expect("a written table");
    }
}

/// Several virtual workers.
pub(crate) struct Workers {
    environments: Vec<TaskEnvironment>,
    _folder: TempDir,
}

impl Workers {
    /// `count` workers with empty stores.
    pub(crate) fn start(count: usize) -> Self {
        Self::with_functions(count, Arc::new(NoFunctions))
    }

    /// The same, where functions are called by `functions`.
    pub(crate) fn with_functions(count: usize, functions: Arc<dyn FunctionRunner>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let stores: Vec<Arc<ShuffleStore>> = (0..count)
            .map(|worker| {
                let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
                let spill_dir = folder.path().join(worker.to_string());
                ShuffleStore::new(StoreConfig::new(spill_dir, 1 << 30), pool).expect("an empty store")
            })
            .collect();
        let remote = Arc::new(Peers { stores: stores.clone() });
        let environments = stores
            .into_iter()
            .enumerate()
            .map(|(worker, store)| TaskEnvironment {
                worker: WorkerId(worker as u64),
                store,
                remote: Arc::clone(&remote) as Arc<dyn FetchRemote>,
                functions: Arc::clone(&functions),
            })
            .collect();
        Self { environments, _folder: folder }
    }

    /// Runs all stages in order, tasks dealt to workers in turn, and returns the result stage's rows and what all
    /// operators measured.
    pub(crate) async fn run(
        &self,
        graph: &StageGraph,
        settings: &QuerySettings,
        progress: &Arc<TaskProgress>,
    ) -> Result<(Vec<RecordBatch>, Vec<v1::OperatorMetrics>), String> {
        let mut written_by: HashMap<StageId, Vec<usize>> = HashMap::new();
        let mut operators = Vec::new();
        for stage in &fused(graph) {
            let definition = v1::StageDefinition {
                plan: stage.plan.clone(),
                inputs: stage.inputs.iter().map(|input| locate(*input, &written_by[input])).collect(),
                settings: settings.options.clone().into_iter().collect(),
                share_plan: stage.share_plan,
                ..Default::default()
            };
            let mut writers = Vec::new();
            for (index, work) in divide(stage, |input| written_by[&input].len() as u32).iter().enumerate() {
                let worker = (index + stage.id.0 as usize) % self.environments.len();
                let loaded = LoadedStage::new(definition.clone(), &Arc::new(RuntimeEnv::default()))
                    .map_err(|error| error.to_string())?;
                let attempt = v1::TaskAttempt { job: JOB.0, stage: stage.id.0, task: index as u32, attempt: 0 };
                let finished = run_task(&self.environments[worker], &loaded, attempt, work, progress)
                    .await
                    .map_err(|error| error.to_string())?;
                operators.extend(finished.metrics.into_iter().flat_map(|metrics| metrics.operators));
                writers.extend(work.outputs().map(|_| worker));
            }
            written_by.insert(stage.id, writers);
        }
        let result = graph.stages.iter().find(|stage| stage.role == StageRole::Result).expect("a result stage");
        let mut rows = Vec::new();
        for (partition, worker) in written_by[&result.id].iter().enumerate() {
            let key = output_key(JOB, result.id, partition as u32, Attempt(0));
            let batches = self.environments[*worker].store.read(key, 0..1).expect("the result is kept");
            rows.extend(batches.try_collect::<Vec<_>>().await.expect("the result can be read"));
        }
        for environment in &self.environments {
            environment.store.drop_job(JOB);
        }
        Ok((rows, operators))
    }
}

/// The stages that are run when every other stage that may take over others does.
fn fused(graph: &StageGraph) -> Vec<Stage> {
    let mut depths: HashMap<StageId, u32> = HashMap::new();
    let mut taken_over = BTreeSet::new();
    for stage in &graph.stages {
        let Some(fusion) = stage.fusion.as_ref().filter(|_| stage.id.0 % 4 != 1) else { continue };
        depths.insert(stage.id, depths.get(&fusion.probe).copied().unwrap_or(0) + 1);
        taken_over.insert(fusion.probe);
    }
    let stages = graph.stages.iter().filter(|stage| !taken_over.contains(&stage.id)).cloned();
    let in_shape = stages.map(|mut stage| {
        if let (Some(depth), Some(fusion)) = (depths.get(&stage.id), stage.fusion.take()) {
            let Variant { name, inputs, partitions, divisible, plan, display } =
                fusion.variants[*depth as usize - 1].clone();
            stage = Stage { name, inputs, partitions, divisible, plan, display, ..stage };
        }
        stage
    });
    in_shape.collect()
}

/// Divides a stage over tasks in one of the ways it allows, a different one from stage to stage.
fn divide(stage: &Stage, producers: impl Fn(StageId) -> u32) -> Vec<TaskWork> {
    let partitions = stage.partitions;
    let pairs = || (0..partitions).step_by(2).map(|first| TaskWork::whole(first..(first + 2).min(partitions)));
    let odd = stage.id.0 % 2 == 1;
    match stage.divisible.split_over {
        _ if stage.share_plan => vec![TaskWork::whole(0..partitions)],
        Some(input) if odd => {
            let producers = producers(input);
            let middle = producers / 2;
            let slices = (0..partitions).flat_map(|partition| [(partition, 0..middle), (partition, middle..producers)]);
            let slices = slices.zip(0..).map(|((partition, producers), number)| TaskWork {
                partitions: vec![partition],
                first_output: number,
                slice: Some(InputSlice { stage: input, producers }),
                merged: false,
            });
            slices.collect()
        }
        _ if stage.divisible.mergeable && !stage.id.0.is_multiple_of(3) => {
            let merged = pairs().zip(0..).map(|(pair, number)| TaskWork { first_output: number, merged: true, ..pair });
            merged.collect()
        }
        _ if odd && !stage.divisible.sized_by.is_empty() => pairs().collect(),
        _ => (0..partitions).map(|partition| TaskWork::whole(partition..partition + 1)).collect(),
    }
}

fn locate(stage: StageId, written_by: &[usize]) -> v1::StageInput {
    let mut workers: Vec<usize> = written_by.to_vec();
    workers.sort_unstable();
    workers.dedup();
    let position = |worker: &usize| workers.binary_search(worker).expect("listed above") as u32;
    v1::StageInput {
        stage: stage.0,
        worker_of: written_by.iter().map(position).collect(),
        attempt_of: vec![0; written_by.len()],
        workers: workers
            .iter()
            .map(|&worker| v1::WorkerAddress { worker: worker as u64, data_address: worker.to_string() })
            .collect(),
    }
}

fn output_key(job: JobId, stage: StageId, partition: u32, attempt: Attempt) -> OutputKey {
    OutputKey { job, stage, partition: PartitionId(partition), attempt }
}

/// Fetches from the other virtual workers, through the wire form.
#[derive(Debug)]
struct Peers {
    stores: Vec<Arc<ShuffleStore>>,
}

#[async_trait]
impl FetchRemote for Peers {
    async fn fetch(
        &self,
        worker: WorkerId,
        _address: &str,
        request: v1::FetchRequest,
    ) -> Result<BoxStream<'static, Result<Bytes, FetchError>>, FetchError> {
        let keys = request
            .partitions
            .iter()
            .zip(&request.attempts)
            .map(|(&partition, &attempt)| {
                output_key(JobId(request.job), StageId(request.stage), partition, Attempt(attempt))
            })
            .collect();
        let outputs = request.output_start as usize..request.output_end as usize;
        let pieces = self.stores[worker.0 as usize]
            .read_ipc(keys, outputs, BodyCompression::None)
            .map_err(|error| not_found(&error))?;
        Ok(pieces.map_err(|error| not_found(&error)).boxed())
    }
}

fn not_found(error: &StoreError) -> FetchError {
    FetchError::NotFound { partition: error.lost().map(|key| key.partition), reason: error.to_string() }
}

/// A session that plans for stages, with every Parquet file of `data` as a table.
async fn planner(data: &Path, partitions: usize, options: &[(&str, &str)]) -> (SessionContext, QuerySettings) {
    let small_files = ("datafusion.optimizer.repartition_file_min_size", "1");
    let options = options.iter().chain([&small_files]).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let settings = QuerySettings::new(partitions, &options.collect());
    let storage = Arc::new(Storage::new(BTreeMap::new()));
    let context = settings.planning_context(storage.runtime(&RuntimeEnv::default())).expect("settings are valid");
    register(&context, data).await;
    (context, settings)
}

/// Plain DataFusion over the same tables, but for what it takes to hold of rows and does not.
pub(crate) async fn oracle(data: &Path, partitions: usize) -> SessionContext {
    let mut rules = PhysicalOptimizer::new().rules;
    hidden::add_rule(&mut rules);
    let state = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(partitions))
        .with_default_features()
        .with_physical_optimizer_rules(rules)
        .build();
    let context = SessionContext::new_with_state(state);
    register(&context, data).await;
    context
}

async fn register(context: &SessionContext, data: &Path) {
    for entry in std::fs::read_dir(data).expect("the data folder") {
        let path = entry.expect("a file").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let path = path.to_string_lossy();
        context.register_parquet(name, path.as_ref(), ParquetReadOptions::default()).await.expect("a parquet file");
    }
}

/// Plans `sql` into stages.
pub(crate) async fn plan(context: &SessionContext, sql: &str) -> Result<StageGraph, String> {
    let plan = async { context.sql(sql).await?.create_physical_plan().await };
    let plan = plan.await.map_err(|error| error.strip_backtrace())?;
    cut_into_stages(plan, &context.copied_config())
}

fn cut_into_stages(plan: Arc<dyn ExecutionPlan>, config: &SessionConfig) -> Result<StageGraph, String> {
    let mut options = AdaptiveOptions::of(config);
    // With some numbers of partitions every join that may drop rows early does, with others none: all tables are small.
    if config.target_partitions() != 7 {
        options.prefilter_min_rows = 0;
    }
    let mut builder = GraphBuilder::new(options);
    builder.add_result(plan).map_err(|error| error.strip_backtrace())?;
    Ok(builder.finish())
}

/// The cells of all rows as text, floats cut to nine significant digits.
pub(crate) fn cells(batches: &[RecordBatch]) -> Vec<Vec<String>> {
    let Some(first) = batches.first() else { return Vec::new() };
    let batch = concat_batches(&first.schema(), batches).expect("one schema");
    let columns: Vec<Vec<String>> = batch.columns().iter().map(texts).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// Rows as text, sorted unless the query orders them itself.
fn normalize(batches: &[RecordBatch], ordered: bool) -> Vec<String> {
    let mut rows: Vec<String> = cells(batches).into_iter().map(|row| row.join("|")).collect();
    if !ordered {
        rows.sort();
    }
    rows
}

fn texts(column: &ArrayRef) -> Vec<String> {
    if matches!(column.data_type(), DataType::Float32 | DataType::Float64) {
        let column = cast(column, &DataType::Float64).expect("floats");
        let column = column.as_any().downcast_ref::<Float64Array>().expect("doubles");
        return column.iter().map(|value| value.map_or("null".to_owned(), cut)).collect();
    }
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(column, &options).expect("printable");
    (0..column.len()).map(|row| formatter.value(row).to_string()).collect()
}

/// `value` with nine significant digits, and no more than it needs.
fn cut(value: f64) -> String {
    format!("{value:.8e}").parse::<f64>().map_or_else(|_| value.to_string(), |value| value.to_string())
}

/// Whether the statement itself, not a part of it in parentheses, says in which order rows come.
fn orders_rows(sql: &str) -> bool {
    sql.rsplit(')').next().is_some_and(|end| end.to_lowercase().contains("order by"))
}

/// The same tables, asked by both.
pub(crate) struct Comparison {
    expected: SessionContext,
    planner: SessionContext,
    settings: QuerySettings,
    workers: Workers,
    partitions: usize,
    _folder: TempDir,
}

impl Comparison {
    /// Writes the tables and starts `workers` virtual workers; queries are planned for `partitions` partitions.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn start(workers: usize, partitions: usize) -> Self {
        Self::start_with(workers, partitions, &[]).await
    }

    /// The same with options that a user sets.
    pub(crate) async fn start_with(workers: usize, partitions: usize, options: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        write_tables(folder.path()).await;
        let expected = oracle(folder.path(), partitions).await;
        let (planner, settings) = planner(folder.path(), partitions, options).await;
        Self { expected, planner, settings, workers: Workers::start(workers), partitions, _folder: folder }
    }

    /// Adds the files of `spec` as a table that both read with our own reader.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn add_source(&self, spec: &SourceSpec) {
        let storage = Arc::new(Storage::new(BTreeMap::new()));
        for context in [&self.expected, &self.planner] {
            let table = open_source(spec, &storage, context).await.expect("a source").table;
            context.register_table(spec.name.as_str(), table).expect("a new table");
        }
    }

    /// The stages of a query that can be planned.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn plan(&self, sql: &str) -> StageGraph {
        plan(&self.planner, sql).await.expect("a valid query")
    }

    /// What single-process DataFusion answers.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn expected(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        let answer = async {
            let frame = self.expected.sql(sql).await?;
            let schema = Arc::clone(frame.schema().inner());
            Ok::<_, DataFusionError>((schema, frame.collect().await?))
        };
        answer.await.map_err(|error| error.strip_backtrace())
    }

    /// What comes out of the stages of a query.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn staged(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
        let plan = async { self.planner.sql(sql).await?.create_physical_plan().await };
        let plan = plan.await.map_err(|error| error.strip_backtrace())?;
        let schema = plan.schema();
        let graph = cut_into_stages(plan, &self.planner.copied_config())?;
        Ok((schema, self.workers.run(&graph, &self.settings, &Arc::default()).await?.0))
    }

    /// The stages of a step that calls a function for the rows of a query, and what comes out of them.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn called(
        &self,
        sql: &str,
        spec: FunctionSpec,
        output: SchemaRef,
        functions: Arc<dyn FunctionRunner>,
    ) -> Result<(StageGraph, Vec<RecordBatch>), String> {
        let plan = async {
            let input = self.planner.sql(sql).await?.create_physical_plan().await?;
            function_plan(spec, output, input, self.partitions)
        };
        let plan = plan.await.map_err(|error| error.strip_backtrace())?;
        let graph = cut_into_stages(plan, &self.planner.copied_config())?;
        let workers = Workers::with_functions(self.workers.environments.len(), functions);
        let (rows, _) = workers.run(&graph, &self.settings, &Arc::default()).await?;
        Ok((graph, rows))
    }

    /// What the operators of a query measured when it ran over stages.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn operators(&self, sql: &str) -> Vec<v1::OperatorMetrics> {
        let graph = self.plan(sql).await;
        self.workers.run(&graph, &self.settings, &Arc::default()).await.expect("a query that runs").1
    }

    /// Runs the stages of a query with tasks that can be told to stop.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn run_with(&self, sql: &str, progress: &Arc<TaskProgress>) -> Result<(), String> {
        self.workers.run(&self.plan(sql).await, &self.settings, progress).await.map(drop)
    }

    /// Panics unless both give the same rows, or both refuse.
    #[allow(dead_code, reason = "each test binary uses a part of this")]
    pub(crate) async fn check(&self, sql: &str) {
        let partitions = self.partitions;
        let ordered = orders_rows(sql);
        let want = async { self.expected.sql(sql).await?.collect().await }.await;
        let planned = plan(&self.planner, sql).await;
        let got = match &planned {
            Ok(graph) => self.workers.run(graph, &self.settings, &Arc::default()).await.map(|(rows, _)| rows),
            Err(error) => Err(error.clone()),
        };
        let stages = || match &planned {
            Ok(graph) => graph.stages.iter().map(|s| format!("stage {} {:?}\n{}", s.id, s.role, s.display)).collect(),
            Err(_) => String::new(),
        };
        match (want, got) {
            (Ok(want), Ok(got)) => assert_eq!(
                normalize(&got, ordered),
                normalize(&want, ordered),
                "wrong answer with {partitions} partitions:\n{sql}\n{}",
                stages()
            ),
            (Err(_), Err(_)) => {}
            (Ok(_), Err(error)) => {
                panic!("with {partitions} partitions only DataFusion answers: {error}\n{sql}\n{}", stages())
            }
            // A plan of its own, which it has made wrong.
            (Err(error), Ok(_)) if error.to_string().starts_with("SanityCheckPlan") => {}
            (Err(error), Ok(_)) => panic!("only DataFusion refuses, with {error}:\n{sql}"),
        }
    }
}
