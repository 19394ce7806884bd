//! What is known of rows before they are grouped by several sets of columns, which does not hold for the groups: a column is null in the
//! groups of sets without it, though it may have one value in all rows, an order, or a partition for each value.
//! DataFusion takes it to hold all the same, and then finds groups twice or leaves out a sort:
//!
//! ```text
//!   k = 4 in all rows          Aggregate ROLLUP (k, m)                     Aggregate ROLLUP (k, m)
//!   k is a constant            └─ Filter k = 4               ─►            └─ Opaque: of its rows nothing is known
//!                                                                             └─ Filter k = 4
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};

use crate::plan::{Plan, only, partitions};

/// Puts an [`OpaqueExec`] below each aggregate with several sets of columns. Runs before anything is decided by what is known of rows.
#[derive(Debug)]
pub(crate) struct HideFromGroupingSets;

impl PhysicalOptimizerRule for HideFromGroupingSets {
    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> Result<Plan> {
        plan.transform_up(|node| {
            let Some(aggregate) = node.downcast_ref::<AggregateExec>() else { return Ok(Transformed::no(node)) };
            if aggregate.group_expr().is_single() || aggregate.input().is::<OpaqueExec>() {
                return Ok(Transformed::no(node));
            }
            let input: Plan = Arc::new(OpaqueExec::new(Arc::clone(aggregate.input())));
            let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            Ok(Transformed::yes(node.replace_children(vec![input], options)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "hide_from_grouping_sets"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The rows of its input, of which nothing is known.
#[derive(Debug)]
pub(crate) struct OpaqueExec {
    input: Plan,
    properties: Arc<PlanProperties>,
}

impl OpaqueExec {
    /// The rows of `input`.
    pub(crate) fn new(input: Plan) -> Self {
        let nothing = EquivalenceProperties::new(input.schema());
        let partitioning = Partitioning::UnknownPartitioning(partitions(&input));
        let properties =
            input.properties().as_ref().clone().with_eq_properties(nothing).with_partitioning(partitioning);
        Self { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for OpaqueExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpaqueExec")
    }
}

impl ExecutionPlan for OpaqueExec {
    fn name(&self) -> &str {
        "OpaqueExec"
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
        self.input.execute(partition, context)
    }
}
