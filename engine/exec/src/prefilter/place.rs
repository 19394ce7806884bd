//! Where on the way of a join's rows those without a partner are dropped: below the exchange, and below the aggregation before it.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::sources::{column, keys_below};
use crate::plan::{Plan, estimated_rows};

/// What a row is looked up by, over the schema of some plan.
pub(crate) type Keys = Vec<Arc<dyn PhysicalExpr>>;

/// Rows that would be looked up if `plan`, one side of a join, put out only those with certain `keys`; none when they are not
/// exchanged by the hash of exactly these, or nobody knows.
pub(crate) fn rows_to_look_up(plan: &Plan, keys: &Keys) -> Option<u64> {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        let by_keys =
            matches!(exchange.partitioning(), Partitioning::Hash(by, partitions) if by == keys && *partitions > 1);
        return by_keys.then(|| estimated_rows(&before_aggregation(exchange.input(), keys).0)).flatten();
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
    match partial(plan).then(|| mapped(plan, keys)).flatten() {
        Some(keys) => {
            let input = place(plan.children()[0], &keys, look_up)?;
            Arc::clone(plan)
                .replace_children(vec![input], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
        }
        None => Ok(look_up(Arc::clone(plan), keys.clone())),
    }
}

fn before_aggregation(plan: &Plan, keys: &Keys) -> (Plan, Keys) {
    match partial(plan).then(|| mapped(plan, keys)).flatten() {
        Some(keys) => before_aggregation(plan.children()[0], &keys),
        None => (Arc::clone(plan), keys.clone()),
    }
}

fn partial(plan: &Plan) -> bool {
    plan.downcast_ref::<AggregateExec>().is_some_and(|aggregate| *aggregate.mode() == AggregateMode::Partial)
}

/// The column at `index` of `schema`.
pub(crate) fn column_of(schema: &Schema, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}
