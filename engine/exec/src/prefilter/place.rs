//! Where on the way of a join's rows those without a partner are dropped: below the exchange, and below the aggregation before it.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::keys::{Keys, column, column_of};
use super::sources::keys_below;
use crate::plan::{Plan, estimated_rows};

/// Rows that would be looked up if `plan`, one side of a join, put out only those with certain `keys`; none when they are not
/// exchanged by the hash of exactly these, or nobody knows.
pub(crate) fn rows_to_look_up(plan: &Plan, keys: &Keys) -> Option<u64> {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        let by_keys =
            matches!(exchange.partitioning(), Partitioning::Hash(by, partitions) if by == keys && *partitions > 1);
        return by_keys.then(|| estimated_rows(ungrouped(exchange.input(), keys))).flatten();
    }
    rows_to_look_up(plan.children().first()?, &mapped(plan, keys)?)
}

/// `keys` over the schema of the only input of `plan`.
pub(crate) fn mapped(plan: &Plan, keys: &Keys) -> Option<Keys> {
    let columns = keys.iter().map(column).collect::<Option<Vec<_>>>()?;
    let below = keys_below(plan, &columns)?;
    let schema = plan.children().first()?.schema();
    Some(below.into_iter().map(|index| column_of(&schema, index)).collect())
}

/// `plan` with `look_up` put in where the rows of its groups still are rows.
pub(crate) fn place(plan: &Plan, keys: &Keys, look_up: impl FnOnce(Plan, Keys) -> Plan) -> Result<Plan> {
    let Some(keys) = group_keys(plan, keys) else { return Ok(look_up(Arc::clone(plan), keys.clone())) };
    let input = place(plan.children()[0], &keys, look_up)?;
    Arc::clone(plan).replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// What [`place`] puts it on.
fn ungrouped<'a>(plan: &'a Plan, keys: &Keys) -> &'a Plan {
    group_keys(plan, keys).map_or(plan, |keys| ungrouped(plan.children()[0], &keys))
}

/// `keys` over the input of `plan`, if that forms groups of rows with the same.
fn group_keys(plan: &Plan, keys: &Keys) -> Option<Keys> {
    let aggregate = plan.downcast_ref::<AggregateExec>()?;
    (*aggregate.mode() == AggregateMode::Partial).then(|| mapped(plan, keys)).flatten()
}
