//! Finds out how the work of a stage may be divided once the sizes of its inputs are known.
//!
//! ```text
//!   HashJoin (Inner)                 sized by stages 1 and 2: few bytes in column 3 of both are little work
//!   ├─ Read hash, stage 1            split over stage 2: each of its rows finds its partners in the whole of
//!   └─ Read hash, stage 2            column 3 of stage 1, so tasks may share the rows of column 3 of stage 2
//! ```

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::union::UnionExec;
use tandem_graph::Divisible;
use tandem_proto::StageId;

use crate::hidden::HideExec;
use crate::plan::{Plan, calls_function, emits_build_rows, is_leaf, partitions, shares_state};
use crate::prefilter::{KeyDigestExec, PrefilterExec};
use crate::probe::ProbeExec;
use crate::shuffle::{ReadMode, ShuffleReadExec};

/// How the partitions of `body`, a stage plan without the exchange at its top, may be divided over tasks.
pub(crate) fn divisible(body: &Plan) -> Result<Divisible> {
    if partitions(body) == 1 || shares_state(body)? || body.exists(|node| Ok(node.is::<UnionExec>()))? {
        return Ok(Divisible::default());
    }
    let (paired, mergeable) = (paired(body)?, is_mergeable(body)?);
    if calls_function(body)? {
        // How much a function has to do is not told by the size of its rows.
        return Ok(Divisible { paired, ..Divisible::default() });
    }
    let Some(mut sized_by) = sized_by(body)? else {
        return Ok(Divisible { mergeable, paired, ..Divisible::default() });
    };
    let once = |stage: &StageId| sized_by.iter().filter(|other| *other == stage).count() == 1;
    let split_over = row_source(body)?.filter(once);
    sized_by.sort_unstable();
    sized_by.dedup();
    Ok(Divisible { sized_by, split_over, mergeable, paired })
}

/// Whether the partitions of a leaf may come one after the other as if they were one: not where their order counts, nor for a
/// digest, which has room for the keys of one partition.
fn is_mergeable(body: &Plan) -> Result<bool> {
    if body.is::<KeyDigestExec>() {
        return Ok(false);
    }
    let ordered =
        |node: &Plan| is_leaf(node) && partitions(node) > 1 && !node.equivalence_properties().oeq_class().is_empty();
    Ok(!body.exists(|node| Ok(ordered(node)))?)
}

/// The stages of which partition `p` of `body` reads column `p`, with repetitions; none when partition `p` reads anything else that not
/// all partitions read.
fn sized_by(body: &Plan) -> Result<Option<Vec<StageId>>> {
    let mut stages = Vec::new();
    let mut known = true;
    body.apply(|node| {
        let column = node.downcast_ref::<ShuffleReadExec>().filter(|read| read.mode() == ReadMode::Hash);
        stages.extend(column.map(ShuffleReadExec::stage));
        known &= !is_leaf(node) || column.is_some() || partitions(node) == 1;
        Ok(if known { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(Some(stages).filter(|stages| known && !stages.is_empty()))
}

/// The stages that `body` reads partition by partition.
fn paired(body: &Plan) -> Result<Vec<StageId>> {
    let mut stages = BTreeSet::new();
    body.apply(|node| {
        let each = node.downcast_ref::<ShuffleReadExec>().filter(|read| read.mode() == ReadMode::Each);
        stages.extend(each.filter(|_| partitions(node) == partitions(body)).map(ShuffleReadExec::stage));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(stages.into_iter().collect())
}

/// The stage whose rows go through `plan` one by one, if there is one.
fn row_source(plan: &Plan) -> Result<Option<StageId>> {
    if let Some(read) = plan.downcast_ref::<ShuffleReadExec>() {
        return Ok((read.mode() == ReadMode::Hash).then(|| read.stage()));
    }
    match row_input(plan)? {
        Some(input) => row_source(plan.children()[input]),
        None => Ok(None),
    }
}

/// The input of `plan` whose rows it takes one by one, in any number of parts, if there is one.
pub(crate) fn row_input(plan: &Plan) -> Result<Option<usize>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // Every task reads the whole build side: what counts rows there would count them twice.
        let counts = join.left().exists(|node| Ok(node.is::<ProbeExec>()))?;
        let by_probe_row = !emits_build_rows(*join.join_type()) && !join.null_aware && !counts;
        return Ok(by_probe_row.then_some(1));
    }
    if plan.is::<PrefilterExec>() {
        return Ok(Some(1));
    }
    let partial = |aggregate: &AggregateExec| *aggregate.mode() == AggregateMode::Partial;
    let row_by_row = plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<ProbeExec>()
        || plan.is::<HideExec>()
        || plan.is::<ScalarSubqueryExec>()
        || plan.downcast_ref::<AggregateExec>().is_some_and(partial);
    Ok(row_by_row.then_some(0))
}
