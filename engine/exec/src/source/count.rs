//! The operator that looks at text files that are cut, before they are read: what must be known of each piece to tell where
//! its records begin, and on which line.
//!
//! ```text
//!   partition 0: big.csv[0, n)    ─► a row: quotes, line feeds ─┐
//!   partition 1: big.csv[n, 2n)   ─► a row                     ─┼─► all rows ─► in every scan: exact ranges of records
//!   partition 2: big.csv[2n, end) ─► a row                     ─┘
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, BinaryArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::csv::{Dialect, RangeFacts, RangeScan, record_ranges};
use super::cut::at_line_ends;
use super::input::blocks;
use super::plan::{Partitions, Piece, ScanPlan, Segment};
use super::reader::store_of;
use crate::plan::Plan;
use crate::storage::FileEntry;

/// A row for each piece: [`CountedPiece`], encoded.
static COUNTS_SCHEMA: LazyLock<SchemaRef> =
    LazyLock::new(|| Arc::new(Schema::new(vec![Field::new("piece", DataType::Binary, false)])));

/// Counts records of the files that a scan divides.
#[derive(Debug)]
pub(crate) struct CountRecordsExec {
    wire: Arc<CountWire>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What the operator is on the wire.
#[derive(Debug, Serialize, Deserialize)]
struct CountWire {
    source: String,
    quotes: Option<Dialect>,
    /// By their places in the scan.
    files: BTreeMap<u32, FileEntry>,
    partitions: Partitions,
}

/// What is known of one piece.
#[derive(Debug, Serialize, Deserialize)]
struct CountedPiece {
    piece: Piece,
    facts: RangeFacts,
}

impl CountRecordsExec {
    /// What a scan of `plan` by `partitions` must know before it can begin; none when it reads whole files only, or needs
    /// no more than line ends.
    pub(crate) fn of(plan: &ScanPlan, partitions: &Partitions) -> Option<Self> {
        if !plan.needs_counts() {
            return None;
        }
        let cut = |pieces: &Vec<Piece>| pieces.iter().copied().filter(|piece| plan.is_cut(piece)).collect::<Vec<_>>();
        let partitions: Partitions = partitions.iter().map(cut).filter(|pieces| !pieces.is_empty()).collect();
        let files: BTreeMap<u32, FileEntry> = partitions
            .iter()
            .flatten()
            .map(|piece| (piece.file, plan.files[piece.file as usize].entry.clone()))
            .collect();
        let (source, quotes) = (plan.source.clone(), plan.format.quotes());
        (!files.is_empty()).then(|| Self::from_wire(CountWire { source, quotes, files, partitions }))
    }

    fn from_wire(wire: CountWire) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(COUNTS_SCHEMA.clone()),
            Partitioning::UnknownPartitioning(wire.partitions.len()),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        // Every block of input is awaited as a task of its own, which is where the thread is given up.
        .with_scheduling_type(SchedulingType::Cooperative);
        Self { wire: Arc::new(wire), properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// This operator for another process.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self.wire.as_ref()).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    /// The operator that `bytes`, made by [`CountRecordsExec::to_bytes`], describe.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wire: CountWire = postcard::from_bytes(bytes)
            .map_err(|error| DataFusionError::Plan(format!("not an encoded count of records: {error}")))?;
        let mut pieces = wire.partitions.iter().flatten();
        let is_sound = pieces.all(|piece| {
            let file = wire.files.get(&piece.file);
            file.is_some_and(|file| piece.start <= piece.end && piece.end <= file.size)
        });
        if !is_sound {
            return internal_err!("an encoded count of records names files that it does not have");
        }
        Ok(Self::from_wire(wire))
    }
}

/// Looks at the pieces of one partition.
struct Counting {
    wire: Arc<CountWire>,
    context: Arc<TaskContext>,
    metrics: BaselineMetrics,
    bytes: Count,
}

impl Counting {
    async fn run(self, partition: usize) -> Result<RecordBatch> {
        let mut rows = Vec::new();
        for piece in &self.wire.partitions[partition] {
            let counted = CountedPiece { piece: *piece, facts: self.look_at(piece).await? };
            rows.push(postcard::to_stdvec(&counted).map_err(|error| DataFusionError::External(Box::new(error)))?);
        }
        self.metrics.record_output(rows.len());
        self.metrics.done();
        let rows = Arc::new(BinaryArray::from_iter_values(rows));
        Ok(RecordBatch::try_new(COUNTS_SCHEMA.clone(), vec![rows])?)
    }

    async fn look_at(&self, piece: &Piece) -> Result<RangeFacts> {
        let file = &self.wire.files[&piece.file];
        let store = store_of(file, &self.context)?;
        let range = at_line_ends(&store, file, piece.start..piece.end).await?;
        let mut scan = RangeScan::new(self.wire.quotes, range.start);
        let mut blocks = blocks(store, file, range);
        while let Some(block) = blocks.try_next().await? {
            let timer = self.metrics.elapsed_compute().timer();
            scan.push(&block);
            timer.done();
            self.bytes.add(block.len());
        }
        Ok(scan.finish())
    }
}

impl DisplayAs for CountRecordsExec {
    fn fmt_as(&self, _format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CountWire { source, files, partitions, .. } = self.wire.as_ref();
        let pieces = || partitions.iter().flatten();
        let bytes: u64 = pieces().map(|piece| piece.end - piece.start).sum();
        let (files, ranges) = (files.len(), pieces().count());
        write!(f, "CountRecordsExec: source={source}, files={files}, ranges={ranges}, bytes={bytes}")
    }
}

impl ExecutionPlan for CountRecordsExec {
    fn name(&self) -> &str {
        "CountRecordsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        if children.is_empty() { Ok(self) } else { internal_err!("CountRecordsExec has no children") }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition >= self.wire.partitions.len() {
            return internal_err!("CountRecordsExec has no partition {partition}");
        }
        let counting = Counting {
            wire: self.wire.clone(),
            context,
            metrics: BaselineMetrics::new(&self.metrics, partition),
            bytes: MetricBuilder::new(&self.metrics).counter("bytes_counted", partition),
        };
        let rows = stream::once(counting.run(partition));
        Ok(Box::pin(RecordBatchStreamAdapter::new(COUNTS_SCHEMA.clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// Where the records of all pieces are.
#[derive(Debug)]
pub(crate) struct Records(BTreeMap<Piece, Option<Segment>>);

impl Records {
    /// Puts together what is known of all pieces of all files, in any order.
    pub(crate) async fn read(mut counts: SendableRecordBatchStream) -> Result<Self> {
        let mut counted: Vec<CountedPiece> = Vec::new();
        while let Some(batch) = counts.try_next().await? {
            let rows = batch.columns().first().and_then(|column| column.as_binary_opt::<i32>());
            let rows = rows.ok_or_else(|| internal_datafusion_err!("not counts of records"))?;
            for row in rows.iter().flatten() {
                counted.push(postcard::from_bytes(row).map_err(|error| DataFusionError::External(Box::new(error)))?);
            }
        }
        counted.sort_unstable_by_key(|counted| counted.piece);
        let mut records = BTreeMap::new();
        for pieces in counted.chunk_by(|one, next| one.piece.file == next.piece.file) {
            let facts: Vec<RangeFacts> = pieces.iter().map(|counted| counted.facts).collect();
            let connected = facts.windows(2).all(|pair| pair[0].end == pair[1].start);
            if !connected || facts[0].start != 0 {
                return internal_err!("the counts of records of a file are not complete");
            }
            for (CountedPiece { piece, .. }, range) in pieces.iter().zip(record_ranges(&facts)) {
                let segment = range.map(|range| Segment {
                    file: piece.file,
                    start: range.start,
                    end: range.end,
                    line: Some(range.line),
                });
                records.insert(*piece, segment);
            }
        }
        Ok(Self(records))
    }

    /// Where those of `piece` are; none when no record begins in it.
    pub(crate) fn of(&self, piece: &Piece) -> Result<Option<Segment>> {
        let segment = self.0.get(piece).copied();
        segment.ok_or_else(|| internal_datafusion_err!("the records of a piece of a file were not counted"))
    }
}
