//! All partitions as one, in their order.
//!
//! ```text
//!   partitions 0, 1, … of the input ─► one after the other ─► the one partition
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::partition::as_one;
use crate::plan::{Plan, only, partitions};

/// Reads the partitions of its input one after the other. A merge of partitions without an order takes rows as they come; this one
/// gives the same rows in the same order each time.
#[derive(Debug)]
pub(crate) struct InOrderExec {
    input: Plan,
    properties: Arc<PlanProperties>,
}

impl InOrderExec {
    /// All of `input`.
    pub(crate) fn new(input: Plan) -> Self {
        let properties = as_one(input.properties(), partitions(&input));
        Self { input, properties }
    }

    /// What is read.
    pub(crate) fn input(&self) -> &Plan {
        &self.input
    }
}

impl DisplayAs for InOrderExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InOrderExec")
    }
}

impl ExecutionPlan for InOrderExec {
    fn name(&self) -> &str {
        "InOrderExec"
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
        Ok(Arc::new(Self::new(only(&children)?)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("partitions in order are one, there is no partition {partition}");
        }
        let input = Arc::clone(&self.input);
        let one_by_one = stream::iter(0..partitions(&input))
            .map(move |partition| input.execute(partition, Arc::clone(&context)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), one_by_one)))
    }
}
