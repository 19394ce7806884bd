//! The operator that reads text files: partitions fixed when planned, columns and rows cut down to what is asked for.
//!
//! ```text
//!   partition 0: a.csv[0, n)            partition 1: a.csv[n, end), b.csv.gz
//!        fetch ahead ─► decompress ─► decode ─► batches ─► the stage's operators
//!                                        └────► bad rows ─► rejects, or the job fails
//! ```
//!
//! A file that is cut is read from record to record. Where line ends alone do not tell which bytes these are, the operator
//! has an input that does, [`CountRecordsExec`]: every partition needs all of it, and in one process it is read once.

use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{SharedResult, Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, Partitioning, PlanProperties,
    StatisticsArgs,
};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, TryFutureExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::count::{CountRecordsExec, Records};
use super::cut::at_line_ends;
use super::plan::{Partitions, Piece, ScanPlan, Segment};
use super::reader::{PartitionReader, store_of};
use crate::plan::Plan;

/// Reads the text files of one source.
#[derive(Debug)]
pub(crate) struct ScanExec {
    wire: Arc<ScanWire>,
    /// In one partition, what is known of the pieces of files.
    counts: Option<Plan>,
    /// What `counts` has told, once a partition has asked.
    records: OnceLock<SharedRecords>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// Any of the partitions that wait for it drives it.
type SharedRecords = Shared<BoxFuture<'static, SharedResult<Arc<Records>>>>;

/// What a scan is on the wire.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct ScanWire {
    plan: Arc<ScanPlan>,
    partitions: Arc<Partitions>,
    projection: Vec<usize>,
    limit: Option<usize>,
}

impl ScanExec {
    /// A scan of the columns at `projection`, ending each partition after `limit` rows if there is one.
    pub(crate) fn new(
        plan: Arc<ScanPlan>,
        partitions: Arc<Partitions>,
        projection: Vec<usize>,
        limit: Option<usize>,
    ) -> Self {
        let counts = CountRecordsExec::of(&plan, &partitions);
        let counts = counts.map(|counts| Arc::new(CoalescePartitionsExec::new(Arc::new(counts))) as Plan);
        Self::from_wire(ScanWire { plan, partitions, projection, limit }, counts)
    }

    fn from_wire(wire: ScanWire, counts: Option<Plan>) -> Self {
        let fields: Vec<_> = wire.projection.iter().map(|&column| wire.plan.schema.fields()[column].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(wire.partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        // Every block of input is awaited as a task of its own, which is where the thread is given up.
        .with_scheduling_type(SchedulingType::Cooperative);
        let (wire, properties) = (Arc::new(wire), Arc::new(properties));
        let (records, metrics) = (OnceLock::new(), ExecutionPlanMetricsSet::new());
        Self { wire, counts, records, schema, properties, metrics }
    }

    /// The same scan with every file cut into as many pieces as are given, one after the other in a partition each.
    #[cfg(test)]
    pub(super) fn in_pieces(&self, pieces: u64) -> Self {
        let ScanWire { plan, projection, limit, .. } = self.wire.as_ref();
        let cut = |(file, place): (u32, u64)| {
            let size = plan.files[file as usize].entry.size;
            vec![Piece { file, start: size * place / pieces, end: size * (place + 1) / pieces }]
        };
        let places = (0..plan.files.len() as u32).flat_map(|file| (0..pieces).map(move |place| (file, place)));
        Self::new(plan.clone(), Arc::new(places.map(cut).collect()), projection.clone(), *limit)
    }

    /// This operator for another process.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self.wire.as_ref()).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator over `inputs` that `bytes`, made by [`ScanExec::to_bytes`], describe.
    pub(crate) fn from_bytes(bytes: &[u8], inputs: &[Plan]) -> Result<Self> {
        let wire: ScanWire = postcard::from_bytes(bytes)
            .map_err(|error| DataFusionError::Plan(format!("not an encoded scan: {error}")))?;
        let columns = wire.plan.schema.fields().len();
        if !wire.plan.is_sound(&wire.partitions) || wire.projection.iter().any(|&column| column >= columns) {
            return internal_err!("an encoded scan names columns or files that it does not have");
        }
        match (CountRecordsExec::of(&wire.plan, &wire.partitions), inputs) {
            (None, []) => Ok(Self::from_wire(wire, None)),
            (Some(_), [counts]) => Ok(Self::from_wire(wire, Some(Arc::clone(counts)))),
            _ => internal_err!("an encoded scan has {} inputs", inputs.len()),
        }
    }

    /// What is known of all pieces of files that are cut.
    fn records(&self, counts: &Plan, context: &Arc<TaskContext>) -> SharedRecords {
        let read = || {
            let (counts, context) = (Arc::clone(counts), Arc::clone(context));
            let records = async move { Records::read(counts.execute(0, context)?).await.map(Arc::new) };
            records.map_err(Arc::new).boxed().shared()
        };
        self.records.get_or_init(read).clone()
    }

    /// Bytes and rows, both estimates, of the pieces.
    fn estimate<'a>(&self, pieces: impl Iterator<Item = &'a Piece>) -> (usize, usize) {
        let plan = &self.wire.plan;
        let rows: u64 =
            pieces.map(|piece| plan.estimated_rows(&plan.files[piece.file as usize], piece.end - piece.start)).sum();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let rows = self.wire.limit.map_or(rows, |limit| rows.min(limit));
        let text_width = 16 + plan.row_bytes as usize / plan.schema.fields().len().max(1);
        let width: usize = self.schema.fields().iter().map(|field| value_width(field.data_type(), text_width)).sum();
        (rows.saturating_mul(width), rows)
    }
}

/// What is to be read for `pieces`.
async fn segments(
    plan: &ScanPlan,
    pieces: &[Piece],
    records: Option<SharedRecords>,
    context: &TaskContext,
) -> Result<Vec<Segment>> {
    let records = match records {
        Some(records) => Some(records.await.map_err(DataFusionError::Shared)?),
        None => None,
    };
    let mut segments = Vec::with_capacity(pieces.len());
    for piece in pieces {
        segments.extend(match records.as_ref().filter(|_| plan.is_cut(piece)) {
            Some(records) => records.of(piece)?,
            None => lines_of(plan, piece, context).await?,
        });
    }
    Ok(segments)
}

/// The lines of `piece`, of which the first one's number is known at the start of a file only.
async fn lines_of(plan: &ScanPlan, piece: &Piece, context: &TaskContext) -> Result<Option<Segment>> {
    let Piece { file, start, end } = *piece;
    let entry = &plan.files[file as usize].entry;
    let lines = at_line_ends(&store_of(entry, context)?, entry, start..end).await?;
    let line = (lines.start == 0).then_some(1);
    Ok((!lines.is_empty()).then_some(Segment { file, start: lines.start, end: lines.end, line }))
}

fn value_width(data_type: &DataType, text_width: usize) -> usize {
    data_type.primitive_width().unwrap_or(if *data_type == DataType::Boolean { 1 } else { text_width })
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ScanWire { plan, partitions, limit, .. } = self.wire.as_ref();
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "ScanExec: source={}, format={}, files={}, partitions={}, columns=[{}]",
            plan.source,
            plan.format.name(),
            plan.files.len(),
            partitions.len(),
            columns.join(", ")
        )?;
        limit.map_or(Ok(()), |limit| write!(f, ", limit={limit}"))
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        self.counts.iter().collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.children().len()])
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Plan>) -> Result<Plan> {
        if children.len() != self.children().len() {
            return internal_err!("ScanExec has {} inputs, not {}", self.children().len(), children.len());
        }
        match children.pop() {
            Some(counts) => Ok(Arc::new(Self::from_wire(self.wire.as_ref().clone(), Some(counts)))),
            None => Ok(self),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.wire.partitions.len() {
            return internal_err!("ScanExec has no partition {partition}");
        }
        let records = self.counts.as_ref().map(|counts| self.records(counts, &context));
        let (wire, metrics) = (Arc::clone(&self.wire), self.metrics.clone());
        let batches = async move {
            let ScanWire { plan, partitions, projection, limit } = wire.as_ref();
            let segments = segments(plan, &partitions[partition], records, &context).await?;
            let (plan, projection) = (Arc::clone(plan), projection.clone());
            let reader = PartitionReader::new(plan, segments, projection, *limit, partition, context, &metrics);
            Ok::<_, DataFusionError>(reader.into_stream())
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::once(batches).try_flatten())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _inputs: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let partitions = &self.wire.partitions;
        let (bytes, rows) = match args.partition() {
            Some(partition) => self.estimate(partitions.get(partition).into_iter().flatten()),
            None => self.estimate(partitions.iter().flatten()),
        };
        let statistics = Statistics::new_unknown(&self.schema)
            .with_num_rows(Precision::Inexact(rows))
            .with_total_byte_size(Precision::Inexact(bytes));
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self::from_wire(ScanWire { limit, ..self.wire.as_ref().clone() }, self.counts.clone())))
    }

    fn fetch(&self) -> Option<usize> {
        self.wire.limit
    }
}
