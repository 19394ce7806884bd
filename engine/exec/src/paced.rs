//! The rows of the input as they are, with the thread given up on the way.
//!
//! ```text
//!   of a join           batches as they come, as if they were input of what reads them
//!   of small batches    a batch of 8192 rows ─► 128 rows, the thread given up, 128 rows, …
//! ```
//!
//! No part of a stage on the wire: workers add it to what they run.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, TryStreamExt};
use tokio::task::yield_now;

use crate::plan::{Plan, filters_of_same_columns, only};

/// Gives up the thread between batches. Unlike DataFusion's own operator for that, it may go above a join, whose columns need not
/// have different names.
#[derive(Debug)]
pub(crate) struct PacedExec {
    input: Plan,
    pace: Pace,
}

/// How much goes on without a pause.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// A batch, and some more as long as there is time left.
    Batches,
    /// These many rows, for what takes long for each.
    Rows(usize),
}

impl PacedExec {
    /// Rows of a small batch at most: a second or two of texts, and enough of them for a processor to be used well.
    pub(crate) const FEW_ROWS: usize = 128;

    /// The rows of a join.
    pub(crate) fn batches(join: Plan) -> Plan {
        Arc::new(Self { input: join, pace: Pace::Batches })
    }

    /// The rows of `input` in small batches.
    pub(crate) fn few_rows(input: Plan) -> Plan {
        Arc::new(Self { input, pace: Pace::Rows(Self::FEW_ROWS) })
    }
}

impl DisplayAs for PacedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pace {
            Pace::Batches => f.write_str("PacedExec"),
            Pace::Rows(rows) => write!(f, "PacedExec: rows={rows}"),
        }
    }
}

impl ExecutionPlan for PacedExec {
    fn name(&self) -> &str {
        "PacedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
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
        Ok(Arc::new(Self { input: only(&children)?, pace: self.pace }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?;
        let Pace::Rows(rows) = self.pace else { return Ok(make_cooperative(batches)) };
        let pieces = batches.map_ok(move |batch| stream::iter(pieces(&batch, rows).map(Ok))).try_flatten();
        let pieces = pieces.and_then(|piece| async {
            yield_now().await;
            Ok(piece)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), pieces)))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        filters_of_same_columns(&filters, &self.input)
    }

    fn handle_child_pushdown_result(
        &self,
        _: FilterPushdownPhase,
        result: ChildPushdownResult,
        _: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Plan>> {
        Ok(FilterPushdownPropagation::if_all(result))
    }
}

/// The rows of a batch, in order. One without rows is one piece.
fn pieces(batch: &RecordBatch, most: usize) -> impl Iterator<Item = RecordBatch> + use<> {
    let (batch, rows) = (batch.clone(), batch.num_rows());
    (0..rows.max(1)).step_by(most).map(move |first| batch.slice(first, most.min(rows - first)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::collect;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::filter_pushdown::PushedDown;

    use super::*;

    #[tokio::test]
    async fn rows_come_in_their_order_and_none_is_lost() {
        let batch = |rows: std::ops::Range<i64>| {
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(rows)) as _)]).unwrap()
        };
        let batches = vec![batch(0..0), batch(0..1), batch(1..129), batch(129..1000)];
        let input = MemorySourceConfig::try_new_exec(&[batches], batch(0..0).schema(), None).unwrap();
        for (paced, most) in
            [(PacedExec::few_rows(input.clone()), PacedExec::FEW_ROWS), (PacedExec::batches(input), 871)]
        {
            let found = collect(paced, Arc::default()).await.unwrap();
            assert!(found.iter().all(|batch| batch.num_rows() <= most));
            let found = found.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            assert!(found.eq(0..1000));
        }
    }

    /// Whether a filter on the last column gets below.
    fn is_passed(columns: &[&str]) -> bool {
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Boolean, true)).collect();
        let node = PacedExec::batches(Arc::new(EmptyExec::new(Arc::new(Schema::new(fields)))));
        let last = columns.len() - 1;
        let filter: Arc<dyn PhysicalExpr> = Arc::new(Column::new(columns[last], last));
        let config = ConfigOptions::new();
        let below = node.gather_filters_for_pushdown(FilterPushdownPhase::Post, vec![filter], &config).unwrap();
        matches!(below.parent_filters()[0][0].discriminant, PushedDown::Yes)
    }

    #[test]
    fn a_filter_comes_to_no_other_column_of_its_name() {
        assert!(is_passed(&["a", "b"]));
        assert!(!is_passed(&["a", "b", "a"]));
    }
}
