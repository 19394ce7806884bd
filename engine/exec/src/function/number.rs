//! Numbers the microbatches of an input of one partition, so that they can be dealt out and put in order again.
//!
//! ```text
//!   one partition ─► cut at every n-th row ─► the same rows and a last column: the number of their microbatch
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt;

use crate::plan::{Plan, only, partitions};

/// The column with the numbers; it is the last one, whatever the others are called.
const NUMBER: &str = "#batch";

/// Rows with the number of their microbatch, in the order of these numbers.
#[derive(Debug)]
pub(crate) struct NumberBatchesExec {
    input: Plan,
    batch_rows: u64,
    properties: Arc<PlanProperties>,
}

impl NumberBatchesExec {
    /// Numbers every `batch_rows` rows of `input`, which has one partition.
    pub(crate) fn try_new(input: Plan, batch_rows: u64) -> Result<Self> {
        if partitions(&input) != 1 || batch_rows == 0 {
            return internal_err!("{batch_rows} rows of one of {} partitions cannot be numbered", partitions(&input));
        }
        let schema = with_number(&input.schema());
        let properties = Arc::new(numbered_properties(schema, 1));
        Ok(Self { input, batch_rows, properties })
    }

    /// Rows of one microbatch.
    pub(crate) fn batch_rows(&self) -> u64 {
        self.batch_rows
    }
}

/// `schema` and the column with the numbers.
pub(super) fn with_number(schema: &SchemaRef) -> SchemaRef {
    let number = Arc::new(Field::new(NUMBER, DataType::UInt64, false));
    let fields = schema.fields().iter().cloned().chain([number]);
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// `batch`, all of whose rows belong to microbatch `number`, with the columns of `schema`.
pub(super) fn numbered(batch: &RecordBatch, number: u64, schema: &SchemaRef) -> Result<RecordBatch> {
    let numbers = Arc::new(UInt64Array::from_value(number, batch.num_rows()));
    let columns = batch.columns().iter().cloned().chain([numbers as _]);
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

/// The order of rows with numbers.
pub(super) fn by_number(schema: &SchemaRef) -> PhysicalSortExpr {
    let last = schema.fields().len().saturating_sub(1);
    PhysicalSortExpr::new_default(Arc::new(Column::new(NUMBER, last)))
}

/// What is known of `count` partitions of rows with numbers.
pub(super) fn numbered_properties(schema: SchemaRef, count: usize) -> PlanProperties {
    let order = by_number(&schema);
    let equivalences = EquivalenceProperties::new_with_orderings(schema, [[order]]);
    let partitioning = Partitioning::UnknownPartitioning(count);
    PlanProperties::new(equivalences, partitioning, EmissionType::Incremental, Boundedness::Bounded)
}

impl DisplayAs for NumberBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberBatchesExec: rows={}", self.batch_rows)
    }
}

impl ExecutionPlan for NumberBatchesExec {
    fn name(&self) -> &str {
        "NumberBatchesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        Ok(Arc::new(Self::try_new(only(&children)?, self.batch_rows)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, batch_rows) = (self.schema(), self.batch_rows);
        let mut seen = 0;
        let batches = self.input.execute(partition, context)?.flat_map(move |batch| {
            let pieces = batch.and_then(|batch| number(&batch, &mut seen, batch_rows, &schema));
            futures::stream::iter(match pieces {
                Ok(pieces) => pieces.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}

/// `batch` in pieces that each belong to one microbatch; `seen` rows came before it.
fn number(batch: &RecordBatch, seen: &mut u64, batch_rows: u64, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < batch.num_rows() {
        let number = *seen / batch_rows;
        let missing = usize::try_from((number + 1) * batch_rows - *seen).unwrap_or(usize::MAX);
        let length = missing.min(batch.num_rows() - start);
        pieces.push(numbered(&batch.slice(start, length), number, schema)?);
        start += length;
        *seen += length as u64;
    }
    Ok(pieces)
}
