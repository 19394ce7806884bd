//! Hides from an operator what is known of its input and does not hold for its output, though DataFusion takes it to. Otherwise groups
//! are found twice, or a sort is left out.
//!
//! | Operator | What of its input does not hold for its output |
//! |---|---|
//! | groups by several sets of columns | anything: in the groups of sets without it, a column is null |
//! | outer join | values of the side that is null where the other has no partner |
//! | hash join that keeps the order of one side | the order of the other side, which begins again with each row of the first |
//!
//! ```text
//!   k = 4 in all rows          Aggregate ROLLUP (k, m)                     Aggregate ROLLUP (k, m)
//!   k is a constant            └─ Filter k = 4               ─►            └─ Hide values, order, partitioning
//!                                                                             └─ Filter k = 4
//! ```

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, Statistics};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties, ReplaceChildrenOptions,
};

use crate::plan::{Plan, filters_of_same_columns, only, partitions};

/// Adds the rule to `rules`, which are DataFusion's: after the sides of joins are chosen and conditions have come down to where they
/// are tested, before sorts and exchanges are put in or left out by what is known of rows.
pub fn add_rule(rules: &mut Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) {
    let decides = rules.iter().position(|rule| rule.name() == "EnsureRequirements").unwrap_or(rules.len());
    rules.insert(decides, Arc::new(HideWhatDoesNotHold));
}

/// Puts a [`HideExec`] where one is needed.
#[derive(Debug)]
struct HideWhatDoesNotHold;

impl PhysicalOptimizerRule for HideWhatDoesNotHold {
    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> Result<Plan> {
        plan.transform_up(|node| {
            let facts = if let Some(join) = node.downcast_ref::<HashJoinExec>() {
                let keeps_order = matches!(join.join_type(), JoinType::Inner | JoinType::Right);
                of_sides(*join.join_type(), join.left(), join.right(), keeps_order)?
            } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
                of_sides(*join.join_type(), join.left(), join.right(), false)?
            } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
                vec![(!aggregate.group_expr().is_single()).then_some(Facts::All)]
            } else {
                Vec::new()
            };
            if facts.iter().all(Option::is_none) {
                return Ok(Transformed::no(node));
            }
            let inputs = node.children().into_iter().zip(facts).map(|(input, facts)| match facts {
                Some(facts) => Arc::new(HideExec::new(Arc::clone(input), facts)),
                None => Arc::clone(input),
            });
            let (inputs, options) = (inputs.collect(), ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute));
            Ok(Transformed::yes(node.replace_children(inputs, options)?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "hide_what_does_not_hold"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What is to be hidden of the `left` and the `right` side of a join, which may keep the order of the right one.
fn of_sides(join: JoinType, left: &Plan, right: &Plan, keeps_order: bool) -> Result<Vec<Option<Facts>>> {
    let has_values = |plan: &Plan| !plan.equivalence_properties().eq_group().is_empty();
    let (left_is_null, right_is_null) = match join {
        JoinType::Left => (false, true),
        JoinType::Right => (true, false),
        JoinType::Full => (true, true),
        _ => (false, false),
    };
    let of_left = if left_is_null && has_values(left) {
        Some(Facts::Values)
    } else {
        (keeps_order && may_have_order(left)?).then_some(Facts::Order)
    };
    Ok(vec![of_left, (right_is_null && has_values(right)).then_some(Facts::Values)])
}

/// Whether rows of `plan` are in an order, or may be once sorts have been put in for the operators that need one.
fn may_have_order(plan: &Plan) -> Result<bool> {
    let ordered =
        |node: &Plan| node.output_ordering().is_some() || node.required_input_ordering().iter().any(Option::is_some);
    plan.exists(|node| Ok(ordered(node)))
}

/// What is known of rows, from little to much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Facts {
    /// Expressions that the rows are sorted by.
    Order = 0,
    /// Also expressions that have one value in all rows, or the same value in each row. Orders follow from them.
    Values = 1,
    /// Also expressions whose values say in which partition a row is.
    All = 2,
}

/// The rows of its input, of which less is known.
#[derive(Debug)]
pub(crate) struct HideExec {
    input: Plan,
    facts: Facts,
    properties: Arc<PlanProperties>,
}

impl HideExec {
    /// The rows of `input`, with `facts` hidden.
    pub(crate) fn new(input: Plan, facts: Facts) -> Self {
        let mut known = input.equivalence_properties().clone();
        known.clear_orderings();
        if facts >= Facts::Values {
            known = EquivalenceProperties::new(input.schema());
        }
        let mut properties = input.properties().as_ref().clone().with_eq_properties(known);
        if facts == Facts::All {
            properties = properties.with_partitioning(Partitioning::UnknownPartitioning(partitions(&input)));
        }
        Self { input, facts, properties: Arc::new(properties) }
    }

    /// What is hidden.
    pub(crate) fn facts(&self) -> Facts {
        self.facts
    }
}

impl DisplayAs for HideExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = match self.facts {
            Facts::Order => "order",
            Facts::Values => "values, order",
            Facts::All => "values, order, partitioning",
        };
        write!(f, "HideExec: {facts}")
    }
}

impl ExecutionPlan for HideExec {
    fn name(&self) -> &str {
        "HideExec"
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
        Ok(Arc::new(Self::new(only(&children)?, self.facts)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        only(inputs)
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
