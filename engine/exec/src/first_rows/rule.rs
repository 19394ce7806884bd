//! Finds where the first rows of each group are all that is wanted.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::physical_expr::utils::{conjunction, split_conjunction};
use datafusion::physical_expr::window::StandardWindowExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowUDFExpr};
use datafusion::physical_plan::{ExecutionPlan, InputOrderMode, PhysicalExpr, ReplaceChildrenOptions};

use super::FirstRowsExec;
use crate::plan::Plan;

/// Replaces a window of `row_number()` under a condition on the number by [`FirstRowsExec`]. Runs once the input of the window is
/// in order. Projections between the two stay, as do the other conditions.
#[derive(Debug)]
pub(crate) struct KeepFirstRows;

impl PhysicalOptimizerRule for KeepFirstRows {
    fn optimize(&self, plan: Plan, _: &ConfigOptions) -> Result<Plan> {
        plan.transform_down(|node| {
            Ok(match replaced(&node)? {
                Some(first_rows) => Transformed::yes(first_rows),
                None => Transformed::no(node),
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "keep_first_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What takes the place of a filter, if it is one of those.
fn replaced(node: &Plan) -> Result<Option<Plan>> {
    let Some(filter) = node.downcast_ref::<FilterExec>().filter(|filter| filter.projection().is_none()) else {
        return Ok(None);
    };
    let conditions = split_conjunction(filter.predicate());
    let limits = conditions.iter().enumerate().filter_map(|(place, condition)| Some((place, limit(condition)?)));
    for (place, (column, limit)) in limits {
        let Some(first_rows) = below(filter.input(), column, limit)? else { continue };
        let others = conditions.iter().enumerate().filter(|(other, _)| *other != place);
        let others: Vec<Arc<dyn PhysicalExpr>> = others.map(|(_, condition)| Arc::clone(condition)).collect();
        if others.is_empty() {
            return Ok(Some(first_rows));
        }
        return Ok(Some(Arc::new(FilterExec::try_new(conjunction(others), first_rows)?)));
    }
    Ok(None)
}

/// The column of a condition such as `place <= 3`, and how many rows of a group meet it if the column numbers them.
fn limit(condition: &Arc<dyn PhysicalExpr>) -> Option<(usize, u64)> {
    let condition = condition.downcast_ref::<BinaryExpr>()?;
    let column = |side: &Arc<dyn PhysicalExpr>| side.downcast_ref::<Column>().map(Column::index);
    let value = |side: &Arc<dyn PhysicalExpr>| match side.downcast_ref::<Literal>()?.value() {
        ScalarValue::UInt64(value) => *value,
        ScalarValue::Int64(value) => value.and_then(|value| u64::try_from(value).ok()),
        _ => None,
    };
    let (column, operator, value) = match (column(condition.left()), column(condition.right())) {
        (Some(left), None) => (left, *condition.op(), value(condition.right())?),
        (None, Some(right)) => (right, condition.op().swap()?, value(condition.left())?),
        _ => return None,
    };
    let limit = match operator {
        Operator::Eq if value == 1 => 1,
        Operator::LtEq => value,
        Operator::Lt => value.checked_sub(1)?,
        _ => return None,
    };
    (limit > 0).then_some((column, limit))
}

/// `plan` with its window replaced, if `column` of it is the number of rows within their group.
fn below(plan: &Plan, column: usize, limit: u64) -> Result<Option<Plan>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let Some(from) = projection.expr()[column].expr.downcast_ref::<Column>().map(Column::index) else {
            return Ok(None);
        };
        let input = below(projection.input(), from, limit)?;
        let options = || ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        return input.map(|input| Arc::clone(plan).replace_children(vec![input], options())).transpose();
    }
    match plan.downcast_ref::<BoundedWindowAggExec>() {
        Some(window) => first_rows(window, column, limit),
        None => Ok(None),
    }
}

fn first_rows(window: &BoundedWindowAggExec, column: usize, limit: u64) -> Result<Option<Plan>> {
    let (input, [expression]) = (window.input(), window.window_expr()) else { return Ok(None) };
    let is_number = column == input.schema().fields().len() && window.input_order_mode == InputOrderMode::Sorted;
    let standard = expression.as_any().downcast_ref::<StandardWindowExpr>();
    let function =
        standard.and_then(|standard| standard.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>());
    let counts = function.is_some_and(|function| function.fun().name() == "row_number");
    let group_by = expression.partition_by();
    let order = input.properties().output_ordering().cloned();
    let (true, true, false, Some(order)) = (is_number, counts, group_by.is_empty(), order) else { return Ok(None) };
    let name = expression.name().to_owned();
    let first = FirstRowsExec::try_new(Arc::clone(input), group_by.to_vec(), order, limit, &name)?;
    // A number of another type would be another column, and what is above may count on every order that there was.
    let mut same = first.schema().fields().last() == window.schema().fields().last();
    for order in window.properties().equivalence_properties().oeq_class().iter() {
        same &= first.properties().equivalence_properties().ordering_satisfy(order.iter().cloned())?;
    }
    Ok(same.then(|| Arc::new(first) as Plan))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::physical_plan::displayable;

    use crate::session::QuerySettings;

    async fn plan(condition: &str) -> String {
        let context = QuerySettings::new(3, &BTreeMap::new()).planning_context(Default::default()).unwrap();
        let numbered = "SELECT g, v, row_number() OVER (PARTITION BY g ORDER BY v) AS n
                        FROM (VALUES (1, 2), (1, 3), (2, 4)) AS t(g, v)";
        let rows = context.sql(&format!("SELECT g, v FROM ({numbered}) WHERE {condition}")).await.unwrap();
        displayable(rows.create_physical_plan().await.unwrap().as_ref()).indent(true).to_string()
    }

    #[tokio::test]
    async fn windows_are_replaced_where_the_first_rows_are_wanted() {
        for (condition, rows) in [("n = 1", 1), ("n <= 3", 3), ("n < 3", 2), ("5 > n AND v % 2 = 0", 4)] {
            let plan = plan(condition).await;
            assert!(plan.contains(&format!("FirstRowsExec: rows={rows}, ")), "{condition}\n{plan}");
            assert!(!plan.contains("Window"), "{condition}\n{plan}");
            assert_eq!(plan.contains("FilterExec"), condition.contains("AND"), "{condition}\n{plan}");
        }
        for condition in ["n = 2", "n > 1", "n <> 1", "n <= 1 OR v = 3", "v = 1"] {
            let plan = plan(condition).await;
            assert!(!plan.contains("FirstRowsExec"), "{condition}\n{plan}");
        }
    }
}
