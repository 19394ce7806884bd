//! The operator that calls a function.
//!
//! ```text
//!  partition p of the input ─► microbatches ─► calls, a few at once ─► held against the declared columns ─► partition p
//! ```
//! What a call gives comes in the order of the calls. When nobody asks for rows, nothing more is called.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tandem_ipc::{compact, decode_schema, encode_schema};
use tandem_proto::JobId;

use super::batches::{Gathering, Grouping, Microbatch};
use super::number::{numbered, numbered_properties, with_number};
use super::results::conform;
use super::runner::{FunctionCall, FunctionRunner, Functions};
use super::spec::FunctionSpec;
use super::work;
use crate::plan::{Plan, only, partitions};
use crate::scope::TaskScope;

/// Calls of one partition that are under way at once: while one runs, the next is sent.
const CALLS_AT_ONCE: usize = 2;

/// A [`FunctionExec`] on the wire.
#[derive(Serialize, Deserialize)]
struct FunctionWire {
    spec: FunctionSpec,
    /// Its columns, as an Arrow IPC message.
    output: Vec<u8>,
    numbered: bool,
}

/// What a function makes of the rows of its input.
#[derive(Debug, Clone)]
pub struct FunctionExec {
    input: Plan,
    spec: Arc<FunctionSpec>,
    /// The columns that the function gives.
    output: SchemaRef,
    /// The last column of input and output is the number of the microbatch.
    numbered: bool,
    /// In a task: the partition of the stage that the one partition here is.
    partition: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FunctionExec {
    /// Calls the function of `spec`, which gives the columns of `output`, for each partition of `input`.
    pub fn new(spec: Arc<FunctionSpec>, output: SchemaRef, input: Plan) -> Self {
        let equivalences = EquivalenceProperties::new(Arc::clone(&output));
        let partitioning = Partitioning::UnknownPartitioning(partitions(&input));
        let emission = if spec.whole { EmissionType::Final } else { EmissionType::Incremental };
        let properties = PlanProperties::new(equivalences, partitioning, emission, Boundedness::Bounded);
        Self::with(spec, output, input, properties, false)
    }

    /// The same, where microbatches of `input` have numbers, which their rows keep.
    pub(crate) fn of_numbered(spec: Arc<FunctionSpec>, output: SchemaRef, input: Plan) -> Self {
        let properties = numbered_properties(with_number(&output), partitions(&input));
        Self::with(spec, output, input, properties, true)
    }

    fn with(
        spec: Arc<FunctionSpec>,
        output: SchemaRef,
        input: Plan,
        properties: PlanProperties,
        numbered: bool,
    ) -> Self {
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { input, spec, output, numbered, partition: None, properties, metrics }
    }

    /// The same, which says that its one partition is this one of its stage.
    pub(crate) fn as_partition(&self, partition: usize) -> Self {
        Self { partition: Some(partition), ..self.clone() }
    }

    /// The function and how it is called.
    pub fn spec(&self) -> &Arc<FunctionSpec> {
        &self.spec
    }

    /// What a worker needs to make it again, without its input.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let wire = FunctionWire {
            spec: FunctionSpec::clone(&self.spec),
            output: encode_schema(&self.output),
            numbered: self.numbered,
        };
        postcard::to_stdvec(&wire).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator that `bytes`, made by [`FunctionExec::to_bytes`], describe, over `input`.
    pub(crate) fn from_bytes(bytes: &[u8], input: Plan) -> Result<Self> {
        let broken = |error: &dyn fmt::Display| internal_datafusion_err!("not an encoded function: {error}");
        let wire: FunctionWire = postcard::from_bytes(bytes).map_err(|error| broken(&error))?;
        let output = decode_schema(&wire.output).map_err(|error| broken(&error))?;
        if wire.numbered && input.schema().fields().is_empty() {
            return internal_err!("a function of numbered rows without their numbers");
        }
        let new = if wire.numbered { Self::of_numbered } else { Self::new };
        Ok(new(Arc::new(wire.spec), output, input))
    }

    fn with_input(&self, input: Plan) -> Self {
        let (spec, output) = (Arc::clone(&self.spec), Arc::clone(&self.output));
        let new = if self.numbered { Self::of_numbered } else { Self::new };
        Self { partition: self.partition, ..new(spec, output, input) }
    }

    fn grouping(&self) -> Grouping {
        let rows = (self.spec.batch_rows as u64).max(1);
        match (self.spec.whole, self.numbered) {
            (true, _) => Grouping::Whole,
            (false, true) => Grouping::Numbers(rows),
            (false, false) => Grouping::Rows(rows),
        }
    }

    fn caller(&self, partition: usize, context: &TaskContext) -> Result<Caller> {
        let input = self.input.schema();
        let columns: Vec<usize> = (0..input.fields().len() - usize::from(self.numbered)).collect();
        Ok(Caller {
            runner: Functions::of(context)?,
            scope: TaskScope::of(context),
            spec: Arc::clone(&self.spec),
            input: Arc::new(input.project(&columns)?),
            output: Arc::clone(&self.output),
            schema: self.schema(),
            partition: (!self.spec.whole && !self.numbered).then_some(self.partition.unwrap_or(partition)),
            numbered: self.numbered,
        })
    }
}

/// Makes the calls of one partition.
struct Caller {
    runner: Arc<dyn FunctionRunner>,
    /// None outside of a task.
    scope: Option<Arc<TaskScope>>,
    spec: Arc<FunctionSpec>,
    input: SchemaRef,
    output: SchemaRef,
    /// The output, with the number of the microbatch if it has one.
    schema: SchemaRef,
    /// None when a microbatch is counted over the whole step.
    partition: Option<usize>,
    numbered: bool,
}

impl Caller {
    /// Calls the function for one microbatch.
    async fn call(self: Arc<Self>, microbatch: Microbatch) -> Result<Vec<RecordBatch>> {
        let place =
            Place { caller: &self, number: microbatch.number, first: microbatch.first_row, rows: microbatch.rows };
        let call = FunctionCall {
            job: self.scope.as_ref().map_or(JobId(0), |scope| JobId(scope.attempt.job)),
            spec: Arc::clone(&self.spec),
            input: Arc::clone(&self.input),
            output: Arc::clone(&self.output),
            // A part of a large batch would be written with all of it.
            batches: microbatch.batches.into_iter().map(compact).collect::<Result<_, ArrowError>>()?,
        };
        let batches = self.runner.call(call).await.map_err(|error| error.at(&place))?;
        if let (Some(scope), Some(batch)) = (&self.scope, batches.first()) {
            work::count(scope, &self.spec.step, batch.schema_ref());
        }
        let conform = |batch: &RecordBatch| conform(batch, &self.output).map_err(|error| error.at(&place).into());
        let batches = batches.iter().filter(|batch| batch.num_rows() > 0).map(conform);
        if !self.numbered {
            return batches.collect();
        }
        batches.map(|batch| numbered(&batch?, microbatch.number, &self.schema)).collect()
    }
}

/// Which call, in words. Batches and rows are counted from 1, as people do.
struct Place<'a> {
    caller: &'a Caller,
    number: u64,
    first: u64,
    rows: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FunctionSpec { function, step, whole, .. } = &*self.caller.spec;
        write!(f, "function `{function}` of step `{step}`, ")?;
        if *whole {
            return write!(f, "called for all {} rows", self.rows);
        }
        write!(f, "batch {}", self.number + 1)?;
        if let Some(partition) = self.caller.partition {
            write!(f, " of partition {partition}")?;
        }
        write!(f, ", rows {} to {}", self.first + 1, self.first + self.rows)
    }
}

/// The microbatches of one partition, as its rows come.
struct Source {
    batches: SendableRecordBatchStream,
    gathering: Option<Gathering>,
    ready: VecDeque<Microbatch>,
    /// Counts rows that are kept until there are no more.
    kept: Option<MemoryReservation>,
}

impl Source {
    async fn next(&mut self) -> Result<Option<Microbatch>> {
        loop {
            if let Some(microbatch) = self.ready.pop_front() {
                return Ok(Some(microbatch));
            }
            let Some(gathering) = &mut self.gathering else { return Ok(None) };
            match self.batches.next().await {
                Some(batch) => {
                    let batch = batch?;
                    if let Some(kept) = &self.kept {
                        kept.try_grow(batch.get_array_memory_size())?;
                    }
                    gathering.push(batch, &mut self.ready)?;
                }
                None => self.ready.extend(self.gathering.take().and_then(Gathering::finish)),
            }
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Microbatch>> + Send {
        stream::try_unfold(self, |mut source| async move { Ok(source.next().await?.map(|next| (next, source))) })
    }
}

impl DisplayAs for FunctionExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FunctionExec: function={}, step={}", self.spec.function, self.spec.step)?;
        if self.spec.whole {
            f.write_str(", whole")?;
        } else {
            write!(f, ", batch_rows={}", self.spec.batch_rows)?;
        }
        self.spec.needs.as_ref().map_or(Ok(()), |needs| write!(f, ", needs {needs}"))
    }
}

impl ExecutionPlan for FunctionExec {
    fn name(&self) -> &str {
        "FunctionExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.numbered]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        Ok(Arc::new(self.with_input(only(&children)?)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let caller = Arc::new(self.caller(partition, &context)?);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let memory = MemoryConsumer::new(format!("rows of step {}", self.spec.step));
        let source = Source {
            gathering: Some(Gathering::new(self.grouping())),
            ready: VecDeque::new(),
            kept: self.spec.whole.then(|| memory.register(context.memory_pool())),
            batches: self.input.execute(partition, context)?,
        };
        let time = baseline.elapsed_compute().clone();
        let results = source
            .into_stream()
            .map_ok(move |microbatch| {
                let (caller, time) = (Arc::clone(&caller), time.clone());
                async move {
                    let _timer = time.timer();
                    caller.call(microbatch).await
                }
            })
            .try_buffered(CALLS_AT_ONCE)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok::<_, DataFusionError>)))
            .try_flatten()
            .inspect_ok(move |batch| baseline.record_output(batch.num_rows()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), results)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
