//! The leaf operator that reads text files: partitions fixed when planned, columns and rows cut down to what is asked for.
//!
//! ```text
//!   partition 0: a.csv[0, n)            partition 1: a.csv[n, end), b.csv.gz
//!        fetch ahead ─► decompress ─► decode ─► batches ─► the stage's operators
//!                                        └────► bad rows ─► rejects, or the job fails
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, StatisticsArgs,
};
use serde::{Deserialize, Serialize};

use super::plan::{Partitions, ScanPlan, Segment};
use super::reader::PartitionReader;

/// Reads the text files of one source.
#[derive(Debug, Clone)]
pub(crate) struct ScanExec {
    wire: Arc<ScanWire>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

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
        Self::from_wire(ScanWire { plan, partitions, projection, limit })
    }

    fn from_wire(wire: ScanWire) -> Self {
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
        Self { wire, schema, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// This operator for another process.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self.wire.as_ref()).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator that `bytes`, made by [`ScanExec::to_bytes`], describe.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wire: ScanWire = postcard::from_bytes(bytes)
            .map_err(|error| DataFusionError::Plan(format!("not an encoded scan: {error}")))?;
        let columns = wire.plan.schema.fields().len();
        if !wire.plan.is_sound(&wire.partitions) || wire.projection.iter().any(|&column| column >= columns) {
            return internal_err!("an encoded scan names columns or files that it does not have");
        }
        Ok(Self::from_wire(wire))
    }

    /// Bytes and rows, both estimates, of the segments.
    fn estimate<'a>(&self, segments: impl Iterator<Item = &'a Segment>) -> (usize, usize) {
        let plan = &self.wire.plan;
        let rows: u64 = segments
            .map(|segment| plan.estimated_rows(&plan.files[segment.file as usize], segment.end - segment.start))
            .sum();
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let rows = self.wire.limit.map_or(rows, |limit| rows.min(limit));
        let text_width = 16 + plan.row_bytes as usize / plan.schema.fields().len().max(1);
        let width: usize = self.schema.fields().iter().map(|field| value_width(field.data_type(), text_width)).sum();
        (rows.saturating_mul(width), rows)
    }
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

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("ScanExec has no children") }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let ScanWire { plan, partitions, projection, limit } = self.wire.as_ref();
        let Some(segments) = partitions.get(partition) else {
            return internal_err!("ScanExec has no partition {partition}");
        };
        let reader = PartitionReader::new(
            plan.clone(),
            segments.clone(),
            projection.clone(),
            *limit,
            partition,
            context,
            &self.metrics,
        );
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), reader.into_stream())))
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
        Some(Arc::new(Self::from_wire(ScanWire { limit, ..self.wire.as_ref().clone() })))
    }

    fn fetch(&self) -> Option<usize> {
        self.wire.limit
    }
}
