//! The rows of a join as they are, but giving up the thread in between as if they were input.
//!
//! No part of a stage on the wire: workers add it to what they run.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};

use crate::plan::{Plan, filters_of_same_columns};

/// Gives up the thread between batches. Unlike DataFusion's own operator for that, it goes above joins, whose columns need not have
/// different names.
#[derive(Debug)]
pub(crate) struct CooperativeJoinExec {
    join: Plan,
}

impl CooperativeJoinExec {
    /// The rows of `join`.
    pub(crate) fn over(join: Plan) -> Plan {
        Arc::new(Self { join })
    }
}

impl DisplayAs for CooperativeJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CooperativeJoinExec")
    }
}

impl ExecutionPlan for CooperativeJoinExec {
    fn name(&self) -> &str {
        "CooperativeJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.join]
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
            (Some(join), true) => Ok(Self::over(join)),
            _ => internal_err!("the rows are those of one join"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        Ok(make_cooperative(self.join.execute(partition, context)?))
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        filters_of_same_columns(&filters, &self.join)
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::filter_pushdown::PushedDown;

    use super::*;

    /// Whether a filter on the last column gets below.
    fn is_passed(columns: &[&str]) -> bool {
        let fields: Vec<Field> = columns.iter().map(|name| Field::new(*name, DataType::Boolean, true)).collect();
        let node = CooperativeJoinExec::over(Arc::new(EmptyExec::new(Arc::new(Schema::new(fields)))));
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
