//! What cutting and dividing stages must know of physical plans.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::ExecutionPlanProperties;
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use tandem_graph::StageNeeds;
use tandem_proto::StageId;

use crate::function::{FunctionExec, InOrderExec, SpreadExec};
use crate::prefilter::PrefilterExec;
use crate::shuffle::ShuffleReadExec;
use crate::source::ScanExec;

pub(crate) type Plan = Arc<dyn ExecutionPlan>;

/// Whether running `plan` again could give other rows.
pub(crate) fn is_volatile(plan: &Plan) -> Result<bool> {
    let volatile = |function: &FunctionExec| !function.spec().deterministic;
    Ok(plan.exists(|node| Ok(node.downcast_ref::<FunctionExec>().is_some_and(volatile)))?
        || any_expression(plan, |root| Ok(datafusion::physical_expr_common::physical_expr::is_volatile(root)))?)
}

/// Whether a part of `plan` calls a function.
pub(crate) fn calls_function(plan: &Plan) -> Result<bool> {
    plan.exists(|node| Ok(node.is::<FunctionExec>()))
}

/// What the tasks of a stage with this plan need besides a slot.
pub(crate) fn needs(body: &Plan) -> Result<Option<StageNeeds>> {
    let mut needs = None;
    body.apply(|node| {
        needs = node.downcast_ref::<FunctionExec>().and_then(|function| function.spec().needs.clone());
        Ok(if needs.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(needs)
}

/// What becomes of `filters` above a node that puts out the columns of its `input`. DataFusion looks for columns by their names, which
/// may be those of others where two have one name: there, filters stay above.
pub(crate) fn filters_of_same_columns(filters: &[Arc<dyn PhysicalExpr>], input: &Plan) -> Result<FilterDescription> {
    let schema = input.schema();
    let names: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let below = if names.len() == schema.fields().len() {
        ChildFilterDescription::from_child(filters, input)?
    } else {
        ChildFilterDescription::all_unsupported(filters)
    };
    Ok(FilterDescription::new().with_child(below))
}

/// Whether `plan` does nothing but read what another stage has put out.
pub(crate) fn is_read(plan: &Plan) -> bool {
    match plan.downcast_ref::<InOrderExec>() {
        Some(in_order) => is_read(in_order.input()),
        None => plan.is::<ShuffleReadExec>(),
    }
}

/// Whether `test` holds for an expression of any operator of `plan`.
pub(crate) fn any_expression(plan: &Plan, test: impl Fn(&Arc<dyn PhysicalExpr>) -> Result<bool>) -> Result<bool> {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(&mut |root| {
            found = test(root)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    })
}

/// Shows each of an operator's `expressions` to `visit`, until that has seen enough.
pub(crate) fn visit_each<'a>(
    expressions: impl IntoIterator<Item = &'a Arc<dyn PhysicalExpr>>,
    visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
) -> Result<TreeNodeRecursion> {
    for expression in expressions {
        if visit(expression)? == TreeNodeRecursion::Stop {
            return Ok(TreeNodeRecursion::Stop);
        }
    }
    Ok(TreeNodeRecursion::Continue)
}

/// Whether `plan` takes some rows of more without an order that says which: rows of several producers arrive in no order.
pub(crate) fn takes_any_rows(plan: &Plan) -> Result<bool> {
    plan.exists(|node| {
        let any = match node.name() {
            "GlobalLimitExec" | "LocalLimitExec" => {
                node.children().into_iter().any(|input| input.output_ordering().is_none())
            }
            "SortExec" | "SortPreservingMergeExec" => false,
            _ => node.fetch().is_some() && !is_leaf(node),
        };
        Ok(any)
    })
}

/// How many leaves of `plan` read `stage`.
pub(crate) fn read_count(plan: &Plan, stage: StageId) -> Result<usize> {
    let mut count = 0;
    plan.apply(|node| {
        count += usize::from(node.downcast_ref::<ShuffleReadExec>().is_some_and(|read| read.stage() == stage));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(count)
}

/// Rows that `plan` puts out, as far as its sources tell. Only a guide: no error here is worth failing for.
pub(crate) fn estimated_rows(plan: &Plan) -> Option<u64> {
    let statistics = StatisticsContext::new().compute(plan.as_ref(), &StatisticsArgs::new()).ok()?;
    statistics.num_rows.get_value().map(|rows| *rows as u64)
}

/// The stages that `plan` reads.
pub(crate) fn read_stages(plan: &Plan) -> Result<BTreeSet<StageId>> {
    let mut stages = BTreeSet::new();
    plan.apply(|node| {
        stages.extend(node.downcast_ref::<ShuffleReadExec>().map(ShuffleReadExec::stage));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(stages)
}

/// The part of a stage plan whose partitions are run: without the exchange at its top.
pub(crate) fn stage_body(plan: &Plan) -> Plan {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        return Arc::clone(exchange.input());
    }
    if let Some(spread) = plan.downcast_ref::<SpreadExec>() {
        return Arc::clone(spread.input());
    }
    match plan.downcast_ref::<ScalarSubqueryExec>() {
        Some(subqueries) => stage_body(subqueries.input()),
        None => Arc::clone(plan),
    }
}

/// `plan`, the body of a stage, with all its rows: without what drops those that only one reader does not need.
pub(crate) fn unfiltered(plan: Plan) -> Plan {
    plan.downcast_ref::<PrefilterExec>().map_or_else(|| Arc::clone(&plan), |prefilter| Arc::clone(prefilter.input()))
}

/// How many output partitions each partition of a stage plan writes.
pub(crate) fn hash_outputs(plan: &Plan) -> usize {
    if plan.is::<RepartitionExec>() || plan.is::<SpreadExec>() {
        return partitions(plan);
    }
    plan.downcast_ref::<ScalarSubqueryExec>().map_or(1, |subqueries| hash_outputs(subqueries.input()))
}

/// Whether an operator of `plan` needs all partitions to run on one instance of it.
pub(crate) fn shares_state(plan: &Plan) -> Result<bool> {
    plan.exists(|node| {
        Ok(if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            let broadcast = *join.partition_mode() == PartitionMode::CollectLeft;
            join.null_aware || (broadcast && emits_build_rows(*join.join_type()))
        } else if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            emits_build_rows(*join.join_type())
        } else {
            node.is::<RecursiveQueryExec>()
        })
    })
}

/// Whether a join of this type puts out rows of its build (left) side that the probe side alone does not decide: then every probe
/// partition must be known before the last row is.
pub(crate) fn emits_build_rows(join: JoinType) -> bool {
    match join {
        JoinType::Left | JoinType::Full | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => true,
        JoinType::Inner | JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => false,
    }
}

/// Whether the first input of `plan` is read whole by every partition.
pub(crate) fn is_broadcast(plan: &Plan) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<PrefilterExec>()
}

/// The input of an operator that has one.
pub(crate) fn only<T: ?Sized>(inputs: &[Arc<T>]) -> Result<Arc<T>> {
    match inputs {
        [input] => Ok(Arc::clone(input)),
        _ => internal_err!("an operator has one input, not {}", inputs.len()),
    }
}

/// Whether the rows of `plan` come from outside of the plan. A scan may have an input nevertheless, which each of its partitions
/// reads whole and which is none of its rows.
pub(crate) fn is_leaf(plan: &Plan) -> bool {
    plan.children().is_empty() || plan.is::<ScanExec>()
}

/// Whether every task may as well compute `plan` itself, with the same rows: constants, and what is read from an earlier stage.
pub(crate) fn is_cheap(plan: &Plan) -> Result<bool> {
    fn only_projects(plan: &Plan) -> bool {
        match plan.name() {
            "PlaceholderRowExec" | "EmptyExec" | "ShuffleReadExec" => true,
            "ProjectionExec" => plan.children().into_iter().all(only_projects),
            _ => false,
        }
    }
    Ok(only_projects(plan) && !is_volatile(plan)?)
}

pub(crate) fn partitions(plan: &Plan) -> usize {
    plan.output_partitioning().partition_count()
}

/// A short name for people: the operators that say most, each once, from the leaves up.
pub(crate) fn describe(plan: &Plan) -> String {
    fn visit(plan: &Plan, words: &mut Vec<String>) {
        for child in plan.children() {
            visit(child, words);
        }
        let word = match plan.name() {
            "FunctionExec" => plan.downcast_ref::<FunctionExec>().map_or("function", |call| &call.spec().function),
            "SpreadExec" | "NumberBatchesExec" => "spread",
            "DataSourceExec" | "ScanExec" => "scan",
            "CountRecordsExec" => "count records",
            "ShuffleReadExec" => "read",
            "AggregateExec" => "aggregate",
            "HashJoinExec" | "NestedLoopJoinExec" | "CrossJoinExec" => "join",
            "SortExec" => "sort",
            "SortPreservingMergeExec" => "merge",
            "WindowAggExec" | "BoundedWindowAggExec" => "window",
            "UnionExec" | "InterleaveExec" => "union",
            "RecursiveQueryExec" => "recursive",
            "KeyDigestExec" => "keys",
            _ => return,
        };
        if !words.iter().any(|known| known == word) {
            words.push(word.to_owned());
        }
    }
    let mut words = Vec::new();
    visit(plan, &mut words);
    if words.len() > 1 {
        words.retain(|word| word != "read");
    }
    if words.is_empty() { "values".to_owned() } else { words.join(", ") }
}
