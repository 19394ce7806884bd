//! Moves a join that drops most rows of one table down to that table, below the joins with larger ones.
//!
//! ```text
//!   Join s_nationkey = n_nationkey            Join s_suppkey = l_suppkey
//!   ├─ Join s_suppkey = l_suppkey             ├─ Join s_nationkey = n_nationkey
//!   │  ├─ Scan supplier               ─►      │  ├─ Scan supplier
//!   │  └─ Scan lineitem                       │  └─ Scan nation, filtered
//!   └─ Scan nation, filtered                  └─ Scan lineitem
//! ```
//!
//! A statement names its tables in any order, and DataFusion joins them as they are named. Inner joins put out the same rows in
//! any order. A join moves when its other side is made of small tables, and the estimates say that it drops half of the rows or more, and
//! leaves half as many as the join that it goes below: all that is above has as much less to do, and less is exchanged. Larger tables
//! stay where they are named: to bring these down would cost more than estimates are worth.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, HashJoinExecBuilder, PartitionMode};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};

use crate::adaptive::AdaptiveOptions;
use crate::plan::{Plan, estimated_rows};
use crate::prefilter::{column, column_of};

/// A plan in which more joins would move is left as it is by then. That guards against estimates that contradict each other.
const MOST_MOVES: usize = 100;

/// See the module's header. Runs before the sides of joins are chosen and exchanges are put in.
#[derive(Debug)]
pub(crate) struct JoinEarly;

impl PhysicalOptimizerRule for JoinEarly {
    fn optimize(&self, plan: Plan, config: &ConfigOptions) -> Result<Plan> {
        if !config.extensions.get::<AdaptiveOptions>().is_some_and(|options| options.early_joins) {
            return Ok(plan);
        }
        let few = config.optimizer.hash_join_single_partition_threshold_rows as u64;
        let mut plan = Transformed::yes(plan);
        for _ in 0..MOST_MOVES {
            if !plan.transformed {
                break;
            }
            plan = plan.data.transform_up(|node| {
                Ok(match moved(&node, few)? {
                    // What is above it was estimated with the plan as it was.
                    Some(moved) => Transformed::new(moved, true, TreeNodeRecursion::Stop),
                    None => Transformed::no(node),
                })
            })?;
        }
        Ok(plan.data)
    }

    fn name(&self) -> &str {
        "join_early"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What takes the place of `node`, if it is a join with a side of small tables that is to be made further down.
fn moved(node: &Plan, few: u64) -> Result<Option<Plan>> {
    let Some(join) = inner_join(node).filter(|join| join.filter().is_none()) else { return Ok(None) };
    let keys = join.on().iter().map(|(left, right)| column(left).zip(column(right))).collect::<Option<Vec<_>>>();
    let Some(keys) = keys else { return Ok(None) };
    let (left_keys, right_keys): (Vec<usize>, Vec<usize>) = keys.into_iter().unzip();
    let (left, right) = ((join.left(), left_keys), (join.right(), right_keys));
    for ((plan, keys), (larger, columns)) in [(&right, &left), (&left, &right)] {
        if !reads_few(plan, few) {
            continue;
        }
        let dropper = Dropper { plan: Arc::clone(plan), keys: keys.clone(), mode: *join.partition_mode() };
        let Some(lowered) = dropper.lower_into(larger, columns, None)? else { continue };
        let (left_width, added_from) = (width(join.left()), width(larger));
        let from_left = Arc::ptr_eq(plan, join.left());
        // The columns of the other side are the last ones now, whichever they were.
        let place = |column: usize| match (from_left, column.checked_sub(left_width)) {
            (true, None) => added_from + column,
            (true, Some(column)) => column,
            (false, _) => column,
        };
        let (before, after) = (node.schema(), lowered.schema());
        let columns = joined_columns(join).into_iter().map(place).zip(before.fields());
        let columns: Vec<_> = columns
            .map(|(column, field)| ProjectionExpr { expr: column_of(&after, column), alias: field.name().clone() })
            .collect();
        return Ok(Some(Arc::new(ProjectionExec::try_new(columns, lowered)?)));
    }
    Ok(None)
}

/// The side of a join that drops rows of the other one.
struct Dropper {
    plan: Plan,
    /// Columns of it that must be equal to those of the other side.
    keys: Vec<usize>,
    mode: PartitionMode,
}

impl Dropper {
    /// `plan` with this joined to the lowest input that has all of `columns`, and the columns of this behind those of `plan`. None
    /// where that drops too few rows, or goes below no join; `passed` is the last one that it has gone below.
    fn lower_into(&self, plan: &Plan, columns: &[usize], passed: Option<&Plan>) -> Result<Option<Plan>> {
        if let Some((projection, taken)) = projection_of_columns(plan) {
            let below: Vec<usize> = columns.iter().map(|column| taken[*column]).collect();
            let Some(input) = self.lower_into(projection.input(), &below, passed)? else { return Ok(None) };
            let added = self.added_to(projection.input()).map(|column| ProjectionExpr {
                expr: column_of(&input.schema(), column),
                alias: input.schema().field(column).name().clone(),
            });
            let expressions: Vec<_> = projection.expr().iter().cloned().chain(added).collect();
            return Ok(Some(Arc::new(ProjectionExec::try_new(expressions, input)?)));
        }
        if let Some(join) = inner_join(plan) {
            let output = joined_columns(join);
            let left_width = width(join.left());
            let below: Vec<usize> = columns.iter().map(|column| output[*column]).collect();
            if below.iter().all(|column| *column < left_width) {
                let Some(left) = self.lower_into(join.left(), &below, Some(plan))? else { return Ok(None) };
                let place = |column| if column < left_width { column } else { column + width(&self.plan) };
                let output = output.into_iter().map(place).chain(self.added_to(join.left()));
                return rebuilt(join, left, Arc::clone(join.right()), output.collect()).map(Some);
            }
            if below.iter().all(|column| *column >= left_width) {
                let below: Vec<usize> = below.iter().map(|column| column - left_width).collect();
                let Some(right) = self.lower_into(join.right(), &below, Some(plan))? else { return Ok(None) };
                let added = self.added_to(join.right()).map(|column| column + left_width);
                return rebuilt(join, Arc::clone(join.left()), right, output.into_iter().chain(added).collect())
                    .map(Some);
            }
        }
        passed.map_or(Ok(None), |passed| self.join(plan, columns, passed))
    }

    /// This joined to `plan` instead of above `passed`, if that leaves half of their rows or fewer.
    fn join(&self, plan: &Plan, columns: &[usize], passed: &Plan) -> Result<Option<Plan>> {
        let keys = columns.iter().zip(&self.keys);
        let on = keys.map(|(column, key)| (column_of(&plan.schema(), *column), column_of(&self.plan.schema(), *key)));
        let joined = HashJoinExecBuilder::new(Arc::clone(plan), Arc::clone(&self.plan), on.collect(), JoinType::Inner)
            .with_partition_mode(self.mode)
            .build_exec()?;
        let rows = estimated_rows(&joined);
        let halves = |plan| rows.zip(estimated_rows(plan)).is_some_and(|(left, before)| left <= before / 2);
        Ok((halves(plan) && halves(passed)).then_some(joined))
    }

    /// Where the columns of this are behind those of `plan`.
    fn added_to(&self, plan: &Plan) -> std::ops::Range<usize> {
        width(plan)..width(plan) + width(&self.plan)
    }
}

/// Whether none of the tables below `plan` has more than `few` rows.
fn reads_few(plan: &Plan, few: u64) -> bool {
    match plan.children().as_slice() {
        [] => estimated_rows(plan).is_some_and(|rows| rows <= few),
        inputs => inputs.iter().all(|input| reads_few(input, few)),
    }
}

/// An inner join by equal keys, of which null is none.
fn inner_join(plan: &Plan) -> Option<&HashJoinExec> {
    let join = plan.downcast_ref::<HashJoinExec>()?;
    let plain = *join.join_type() == JoinType::Inner && join.null_equality() == NullEquality::NullEqualsNothing;
    (plain && join.fetch().is_none()).then_some(join)
}

/// The columns that `join` puts out, counted over those of its left side and its right side.
fn joined_columns(join: &HashJoinExec) -> Vec<usize> {
    let all = || (0..width(join.left()) + width(join.right())).collect();
    join.projection.as_ref().map_or_else(all, |projection| projection.to_vec())
}

/// `join` of other inputs, which have columns behind their own, putting out those of `output`.
fn rebuilt(join: &HashJoinExec, left: Plan, right: Plan, output: Vec<usize>) -> Result<Plan> {
    join.builder().with_new_children(vec![left, right])?.with_projection(Some(output)).build_exec()
}

/// A projection that computes nothing, and the columns of its input that it takes.
fn projection_of_columns(plan: &Plan) -> Option<(&ProjectionExec, Vec<usize>)> {
    let projection = plan.downcast_ref::<ProjectionExec>()?;
    let taken = projection.expr().iter().map(|projected| column(&projected.expr)).collect::<Option<_>>()?;
    Some((projection, taken))
}

fn width(plan: &Plan) -> usize {
    plan.schema().fields().len()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::session::QuerySettings;

    /// 20 nations, 400 suppliers, 4,000 items, 1,000 orders.
    fn context(early_joins: bool) -> SessionContext {
        let options = BTreeMap::from([("tandem.early_joins".to_owned(), early_joins.to_string())]);
        let context = QuerySettings::new(3, &options).planning_context(Arc::default()).unwrap();
        let numbers =
            |rows: i64, number: fn(i64) -> i64| -> ArrayRef { Arc::new((0..rows).map(number).collect::<Int64Array>()) };
        let texts = |rows: i64, text: fn(i64) -> String| -> ArrayRef {
            Arc::new((0..rows).map(|row| Some(text(row))).collect::<StringArray>())
        };
        let tables = [
            ("nation", [("n_key", numbers(20, |row| row)), ("n_name", texts(20, |row| format!("nation {row}")))]),
            ("supplier", [("s_key", numbers(400, |row| row)), ("s_nation", numbers(400, |row| row % 20))]),
            ("item", [("i_order", numbers(4000, |row| row / 4)), ("i_supplier", numbers(4000, |row| row * 7 % 400))]),
            ("orders", [("o_key", numbers(1000, |row| row)), ("o_nation", numbers(1000, |row| (row + 1) % 20))]),
        ];
        for (name, columns) in tables {
            context.register_batch(name, RecordBatch::try_from_iter(columns).unwrap()).unwrap();
        }
        context
    }

    /// Lines of the table that `sql` gives, in any order.
    async fn rows(context: &SessionContext, sql: &str) -> BTreeSet<String> {
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string().lines().map(ToOwned::to_owned).collect()
    }

    /// How many joins are above the filter on `column`.
    fn joins_above(plan: &str, column: &str) -> usize {
        let depth = |line: &str| line.len() - line.trim_start().len();
        let lines: Vec<&str> = plan.lines().collect();
        let filter = lines.iter().position(|line| line.contains("FilterExec") && line.contains(column)).expect(plan);
        let mut below = depth(lines[filter]);
        let above = lines[..filter].iter().rev().filter(|line| {
            let is_above = depth(line) < below;
            below = below.min(depth(line));
            is_above && line.contains("HashJoinExec")
        });
        above.count()
    }

    #[tokio::test]
    async fn joins_that_drop_most_rows_are_made_first() {
        let tables = "supplier, item, orders, nation WHERE s_key = i_supplier AND i_order = o_key";
        let items = "SELECT i_order, s_nation, s_key FROM supplier JOIN item ON s_key = i_supplier";
        let nations = "nation ON s_nation = n_key WHERE n_name = 'nation 3'";
        for (sql, joins) in [
            // Down to the suppliers, through two joins.
            (format!("SELECT * FROM {tables} AND s_nation = n_key AND n_name = 'nation 3'"), 3),
            // The columns in another order, and not all of them.
            (format!("SELECT n_name, o_nation, s_key FROM {tables} AND n_key = s_nation AND n_name < 'nation 13'"), 3),
            // Named first.
            (format!("SELECT * FROM nation JOIN ({items}) ON n_key = s_nation WHERE n_name = 'nation 3'"), 2),
            // To both sides of a join, below no other.
            (format!("SELECT * FROM {tables} AND s_nation = n_key AND o_nation = n_key AND n_name = 'nation 3'"), 1),
            // Not below a column that is computed, nor below a join that keeps rows without a partner.
            (format!("SELECT * FROM ({}) JOIN {nations}", items.replace("s_key FROM", "s_key + 1 AS next FROM")), 1),
            (format!("SELECT * FROM ({}) JOIN {nations}", items.replace("JOIN", "LEFT JOIN")), 1),
        ] {
            let [early, late] = [context(true), context(false)];
            let rows = rows(&early, &sql).await;
            assert_eq!(rows, self::rows(&late, &sql).await, "{sql}");
            assert!(rows.len() > 4, "{sql}\n{rows:?}");
            let plan = early.sql(&sql).await.unwrap().create_physical_plan().await.unwrap();
            let plan = displayable(plan.as_ref()).indent(true).to_string();
            assert_eq!(joins_above(&plan, "n_name"), joins, "{sql}\n{plan}");
        }
    }
}
