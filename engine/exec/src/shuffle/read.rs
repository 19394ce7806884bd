//! The leaf that reads another stage's output.
//!
//! ```text
//!            producers (partitions of the input stage)
//!              0        1        2
//!   Hash     column p of every producer       → partition p      (of some producers, when tasks share a partition)
//!   All      everything of every producer     → the one partition
//!   Each     everything of producer p         → partition p
//! ```
//!
//! What this worker holds is read first, by pointer; the rest comes from its peers, one stream per peer, a few at a
//! time. Invariant: each producer is read from exactly the attempt that the task's inputs name.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tandem_ipc::{BatchStream, DecodeError};
use tandem_proto::{Attempt, PartitionId, StageId, WorkerId, v1};
use tandem_store::{OutputKey, StoreError};

use super::inputs::{FetchError, InputLocations, TaskInputs};
use crate::error::TaskError;
use crate::partition::as_one;

/// Peers that one reader fetches from at the same time.
const CONCURRENT_PEERS: usize = 8;

/// Which part of the input a partition reads; see the drawing above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Partition `p` reads output partition `p` of every producer.
    Hash,
    /// The one partition reads everything.
    All,
    /// Partition `p` reads all that producer `p` wrote, in its order.
    Each,
}

/// Reads the output of another stage.
#[derive(Debug, Clone)]
pub struct ShuffleReadExec {
    stage: StageId,
    mode: ReadMode,
    /// Output partitions that each producer has written.
    outputs: u32,
    /// In a task: the columns that the one partition reads.
    columns: Option<Range<usize>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ShuffleReadExec {
    /// A reader of `stage`, whose tasks write `outputs` output partitions. `partitioning` and `equivalences` are what is known of the reader's own partitions; an order
    /// of rows is only known of a partition that reads a single producer.
    pub fn new(
        stage: StageId,
        mode: ReadMode,
        outputs: u32,
        equivalences: EquivalenceProperties,
        partitioning: Partitioning,
    ) -> Self {
        let properties =
            PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded);
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { stage, mode, outputs, columns: None, properties, metrics }
    }

    /// A reader of everything of the same stage, in one partition and no order.
    pub(crate) fn whole(&self) -> Self {
        let mut equivalences = self.properties.equivalence_properties().clone();
        equivalences.clear_orderings();
        equivalences.clear_per_partition_constants();
        Self::new(self.stage, ReadMode::All, self.outputs, equivalences, Partitioning::UnknownPartitioning(1))
    }

    /// A reader of these columns in its one partition; none when they do not follow each other, there are no such columns, or
    /// it does not read by column.
    pub(crate) fn columns(&self, selected: &[usize]) -> Option<Self> {
        let (&first, &last) = selected.first().zip(selected.last())?;
        let adjacent = selected.iter().copied().eq(first..last + 1) && last < self.outputs as usize;
        (self.mode == ReadMode::Hash && self.columns.is_none() && adjacent).then(|| {
            let properties = as_one(&self.properties, selected.len());
            Self { columns: Some(first..last + 1), properties, ..self.clone() }
        })
    }

    /// The stage whose output is read.
    pub fn stage(&self) -> StageId {
        self.stage
    }

    /// Which part each partition reads.
    pub fn mode(&self) -> ReadMode {
        self.mode
    }

    /// Output partitions that each producer has written.
    pub fn outputs(&self) -> u32 {
        self.outputs
    }

    /// What one partition must read from whom, or an error when the inputs do not fit the plan.
    fn selection(&self, partition: usize, inputs: &TaskInputs, locations: &InputLocations) -> Result<Selection> {
        let count = locations.producers.len();
        let (producers, outputs) = match self.mode {
            ReadMode::Hash => {
                let columns = self.columns.clone().unwrap_or(partition..partition + 1);
                (inputs.producers(self.stage, count), columns)
            }
            ReadMode::All => (0..count as u32, 0..self.outputs as usize),
            ReadMode::Each if partition < count => (partition as u32..partition as u32 + 1, 0..1),
            ReadMode::Each => {
                return Err(TaskError::Fatal(format!(
                    "partition {partition} reads stage {}, which has only {count} partitions",
                    self.stage
                ))
                .into());
            }
        };
        Ok(Selection { stage: self.stage, producers: producers.collect(), outputs })
    }
}

/// Producers and the range of their outputs that one reader partition needs.
#[derive(Debug, Clone)]
struct Selection {
    stage: StageId,
    producers: Vec<u32>,
    outputs: Range<usize>,
}

impl DisplayAs for ShuffleReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShuffleReadExec: stage={}, mode={:?}", self.stage, self.mode)?;
        write!(f, ", partitions={}", self.properties.partitioning.partition_count())
    }
}

impl ExecutionPlan for ShuffleReadExec {
    fn name(&self) -> &str {
        "ShuffleReadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let inputs = TaskInputs::of(&context)
            .ok_or_else(|| DataFusionError::Internal("a shuffle read was executed outside of a task".to_owned()))?;
        let locations = inputs.stages.get(&self.stage).ok_or_else(|| {
            DataFusionError::Internal(format!("the task was launched without the locations of stage {}", self.stage))
        })?;
        let selection = self.selection(partition, &inputs, locations)?;
        let groups = by_worker(&selection, locations, inputs.here);
        let schema = self.schema();
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let batches = stream::iter(groups)
            .map(move |group| read_group(Arc::clone(&inputs), selection.clone(), group))
            .flatten_unordered(CONCURRENT_PEERS)
            .map(move |batch| {
                let batch = with_schema(&batch?, &schema)?;
                baseline.record_output(batch.num_rows());
                Ok(batch)
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// The producers of a selection that one worker holds.
#[derive(Debug)]
struct Group {
    worker: WorkerId,
    address: String,
    /// Partition of the input stage and the attempt to read, in partition order.
    producers: Vec<(u32, u32)>,
}

/// Groups a selection by worker, this worker's own group first.
fn by_worker(selection: &Selection, locations: &InputLocations, here: WorkerId) -> Vec<Group> {
    let mut groups: Vec<Group> = locations
        .workers
        .iter()
        .map(|(worker, address)| Group { worker: *worker, address: address.clone(), producers: Vec::new() })
        .collect();
    for &partition in &selection.producers {
        let producer = locations.producers[partition as usize];
        groups[producer.worker as usize].producers.push((partition, producer.attempt.0));
    }
    groups.retain(|group| !group.producers.is_empty());
    groups.sort_by_key(|group| group.worker != here);
    groups
}

/// All batches of one group.
fn read_group(inputs: Arc<TaskInputs>, selection: Selection, group: Group) -> BoxStream<'static, Result<RecordBatch>> {
    if group.worker == inputs.here {
        read_local(inputs, selection, group).boxed()
    } else {
        read_remote(inputs, selection, group).boxed()
    }
}

fn read_local(
    inputs: Arc<TaskInputs>,
    selection: Selection,
    group: Group,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    stream::iter(group.producers)
        .map(move |(partition, attempt)| {
            let partition_id = PartitionId(partition);
            let key = OutputKey {
                job: inputs.job,
                stage: selection.stage,
                partition: partition_id,
                attempt: Attempt(attempt),
            };
            let traffic = Arc::clone(&inputs);
            let stage = selection.stage;
            let here = inputs.here;
            inputs
                .store
                .read(key, selection.outputs.clone())
                .map(|batches| {
                    batches
                        .map_err(move |error| from_store(error, stage, partition, here))
                        .inspect_ok(move |batch| traffic.traffic.add_local(batch.get_array_memory_size() as u64))
                })
                .map_err(|error| from_store(error, stage, partition, here))
        })
        .try_flatten()
}

fn read_remote(
    inputs: Arc<TaskInputs>,
    selection: Selection,
    group: Group,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let Group { worker, address, producers } = group;
    let lost = Lost { stage: selection.stage, partition: producers.first().map_or(0, |p| p.0), worker };
    let request = v1::FetchRequest {
        job: inputs.job.0,
        stage: selection.stage.0,
        partitions: producers.iter().map(|p| p.0).collect(),
        attempts: producers.iter().map(|p| p.1).collect(),
        output_start: selection.outputs.start as u32,
        output_end: selection.outputs.end as u32,
        uncompressed: false,
    };
    let fetch = async move {
        let start = Instant::now();
        let pieces =
            inputs.remote.fetch(worker, &address, request).await.map_err(|error| lost.because_of_fetch(&error))?;
        inputs.traffic.add_wait(start);
        let pieces =
            pieces.inspect_ok(move |piece| inputs.traffic.add_remote(piece.len() as u64)).map_err(PieceError::Fetch);
        Ok::<_, DataFusionError>(BatchStream::new(pieces).map_err(move |error| match &error {
            PieceError::Fetch(error) => lost.because_of_fetch(error),
            PieceError::Decode(_) => lost.because(&error),
        }))
    };
    stream::once(fetch).try_flatten()
}

/// Names what is lost when a fetch fails.
#[derive(Debug, Clone, Copy)]
struct Lost {
    stage: StageId,
    partition: u32,
    worker: WorkerId,
}

impl Lost {
    /// Names the partition that the other worker says it has lost.
    fn because_of_fetch(self, error: &FetchError) -> DataFusionError {
        let named = match error {
            FetchError::NotFound { partition, .. } => *partition,
            FetchError::Unreachable(_) => None,
        };
        Self { partition: named.map_or(self.partition, |partition| partition.0), ..self }.because(error)
    }

    fn because(self, error: &impl fmt::Display) -> DataFusionError {
        TaskError::Lost {
            stage: self.stage,
            partition: PartitionId(self.partition),
            worker: self.worker,
            reason: error.to_string(),
        }
        .into()
    }
}

/// What can go wrong with a stream from a peer; either way its output is made again.
#[derive(Debug, thiserror::Error)]
enum PieceError {
    #[error(transparent)]
    Fetch(FetchError),
    #[error("the stream cannot be decoded: {0}")]
    Decode(#[from] DecodeError),
}

fn from_store(error: StoreError, stage: StageId, partition: u32, here: WorkerId) -> DataFusionError {
    if error.is_lost() {
        Lost { stage, partition, worker: here }.because(&error)
    } else {
        DataFusionError::External(Box::new(error))
    }
}

/// Gives stored rows the exact schema of the plan: the store and the wire hold all columns as nullable.
fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)?)
}
