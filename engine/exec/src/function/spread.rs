//! The top of a stage that deals its microbatches out, one after the other, to the partitions of the next.
//! Never executed: the task that runs the stage deals them out, by [`batch_number`].

use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};

use super::number::numbered_properties;
use crate::plan::{Plan, only};

/// Rows with the number of their microbatch, in the partition that is their number modulo that of partitions.
#[derive(Debug)]
pub(crate) struct SpreadExec {
    input: Plan,
    properties: Arc<PlanProperties>,
}

impl SpreadExec {
    /// Deals the microbatches of `input`, which are numbered, out to `count` partitions.
    pub(crate) fn new(input: Plan, count: usize) -> Self {
        let properties = Arc::new(numbered_properties(input.schema(), count));
        Self { input, properties }
    }

    /// What is dealt out.
    pub(crate) fn input(&self) -> &Plan {
        &self.input
    }
}

/// The number of the microbatch that all rows of `batch` belong to; none of no rows.
pub(crate) fn batch_number(batch: &RecordBatch) -> Result<Option<u64>> {
    let numbers = batch.columns().last().and_then(|column| column.as_primitive_opt::<UInt64Type>());
    let numbers = numbers.ok_or_else(|| internal_datafusion_err!("rows without the number of their batch"))?;
    Ok(numbers.values().first().copied())
}

impl DisplayAs for SpreadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpreadExec: partitions={}", self.properties.partitioning.partition_count())
    }
}

impl ExecutionPlan for SpreadExec {
    fn name(&self) -> &str {
        "SpreadExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        let count = self.properties.partitioning.partition_count();
        Ok(Arc::new(Self::new(only(&children)?, count)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        internal_err!("microbatches are dealt out by the task of the stage")
    }
}
