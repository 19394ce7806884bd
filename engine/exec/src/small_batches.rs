//! The rows of the input, few at a time, for operators that take long for each.
//!
//! ```text
//!   batch of 8192 rows ─► 128 rows, the thread given up, 128 rows, …
//! ```
//!
//! No part of a stage on the wire: workers add it to what they run.

use std::fmt;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, TryStreamExt};
use tokio::task::yield_now;

use crate::plan::{Plan, filters_of_same_columns};

/// Cuts batches.
#[derive(Debug)]
pub(crate) struct SmallBatchesExec {
    input: Plan,
}

impl SmallBatchesExec {
    /// Rows of a batch at most: a second or two of texts, and enough of them for a processor to be used well.
    pub(crate) const ROWS: usize = 128;

    /// The rows of `input`.
    pub(crate) fn over(input: Plan) -> Plan {
        Arc::new(Self { input })
    }
}

impl DisplayAs for SmallBatchesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmallBatchesExec: rows={}", Self::ROWS)
    }
}

impl ExecutionPlan for SmallBatchesExec {
    fn name(&self) -> &str {
        "SmallBatchesExec"
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

    fn replace_children(self: Arc<Self>, mut children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Self::over(input)),
            _ => internal_err!("batches of one input are cut"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.input.execute(partition, context)?;
        let pieces = batches.map_ok(|batch| stream::iter(pieces(&batch).map(Ok))).try_flatten();
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
fn pieces(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
    const ROWS: usize = SmallBatchesExec::ROWS;
    let (batch, rows) = (batch.clone(), batch.num_rows());
    (0..rows.max(1)).step_by(ROWS).map(move |first| batch.slice(first, ROWS.min(rows - first)))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::Int64Type;
    use datafusion::datasource::memory::MemorySourceConfig;
    use datafusion::physical_plan::collect;

    use super::*;

    #[tokio::test]
    async fn rows_come_in_their_order_and_none_is_lost() {
        let batch = |rows: std::ops::Range<i64>| {
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(rows)) as _)]).unwrap()
        };
        let batches = vec![batch(0..0), batch(0..1), batch(1..129), batch(129..1000)];
        let input = MemorySourceConfig::try_new_exec(&[batches], batch(0..0).schema(), None).unwrap();
        let cut = collect(SmallBatchesExec::over(input), Arc::default()).await.unwrap();
        assert!(cut.iter().all(|batch| batch.num_rows() <= SmallBatchesExec::ROWS));
        let found = cut.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
        assert!(found.eq(0..1000));
    }
}
