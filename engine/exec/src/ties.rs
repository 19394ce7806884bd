//! Whether rows that are put out depend on the order in which rows come in. Rows of several producers come in no order, so
//! operators that choose between rows that their order does not tell apart may choose others when they run again.
//!
//! Invariant: what is not known to be indifferent to the order counts as dependent on it.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::logical_expr::WindowFrameUnits;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::window::{
    PlainAggregateWindowExpr, SlidingAggregateWindowExpr, StandardWindowExpr, WindowExpr,
};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec, WindowUDFExpr};

use crate::first_rows::FirstRowsExec;
use crate::plan::Plan;

/// Aggregates that give the same for rows in any order, but for the last digits of floats.
const ORDERLESS_AGGREGATES: &str = "approx_distinct avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop \
    covar_samp exact_sum grouping max median min percentile_cont regr_avgx regr_avgy regr_count regr_intercept regr_r2 \
    regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop sum var var_pop";

/// Window functions that give the same for all rows that the order of the window does not tell apart.
const PEER_FUNCTIONS: [&str; 4] = ["rank", "dense_rank", "percent_rank", "cume_dist"];

/// Whether an operator of `plan` chooses between rows by the order in which they come.
pub(crate) fn breaks_ties(plan: &Plan) -> Result<bool> {
    plan.exists(|node| {
        Ok(if let Some(sort) = node.downcast_ref::<SortExec>() {
            sort.fetch().is_some() && !tells_all_apart(sort.input(), sort.expr(), &[])
        } else if let Some(merge) = node.downcast_ref::<SortPreservingMergeExec>() {
            merge.fetch().is_some() && !tells_all_apart(merge.input(), merge.expr(), &[])
        } else if let Some(first) = node.downcast_ref::<FirstRowsExec>() {
            !tells_all_apart(first.input(), first.order(), first.group_by())
        } else if let Some(window) = node.downcast_ref::<WindowAggExec>() {
            any_depends_on_order(window.window_expr(), window.input())
        } else if let Some(window) = node.downcast_ref::<BoundedWindowAggExec>() {
            any_depends_on_order(window.window_expr(), window.input())
        } else if let Some(aggregate) = node.downcast_ref::<AggregateExec>() {
            aggregate.aggr_expr().iter().any(|function| !is_orderless(function.fun().name()))
        } else {
            false
        })
    })
}

/// Whether rows of `input` that are equal by `order` and `groups` are equal in all columns.
fn tells_all_apart<'a>(
    input: &Plan,
    order: impl IntoIterator<Item = &'a PhysicalSortExpr>,
    groups: &'a [Arc<dyn PhysicalExpr>],
) -> bool {
    let keys = order.into_iter().map(|sort| &sort.expr).chain(groups);
    let columns: Vec<usize> = keys.filter_map(|key| key.downcast_ref::<Column>()).map(Column::index).collect();
    (0..input.schema().fields().len()).all(|index| columns.contains(&index))
}

fn any_depends_on_order(windows: &[Arc<dyn WindowExpr>], input: &Plan) -> bool {
    let depends = |window: &Arc<dyn WindowExpr>| {
        !is_same_for_peers(window.as_ref()) && !tells_all_apart(input, window.order_by(), window.partition_by())
    };
    windows.iter().any(depends)
}

fn is_same_for_peers(window: &dyn WindowExpr) -> bool {
    let any = window.as_any();
    let aggregate = any.downcast_ref::<PlainAggregateWindowExpr>().map(PlainAggregateWindowExpr::get_aggregate_expr);
    let sliding = any.downcast_ref::<SlidingAggregateWindowExpr>();
    if let Some(function) = aggregate.or_else(|| sliding.map(SlidingAggregateWindowExpr::get_aggregate_expr)) {
        let frame = window.get_window_frame();
        let whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
        return is_orderless(function.fun().name()) && (whole || frame.units != WindowFrameUnits::Rows);
    }
    any.downcast_ref::<StandardWindowExpr>()
        .and_then(|function| function.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>())
        .is_some_and(|function| PEER_FUNCTIONS.contains(&function.fun().name()))
}

fn is_orderless(aggregate: &str) -> bool {
    ORDERLESS_AGGREGATES.split_whitespace().any(|known| known == aggregate)
}
