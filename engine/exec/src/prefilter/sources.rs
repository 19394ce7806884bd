//! Finds out which rows of a join's sides are of no use without a partner, and who knows the keys that have one.

use std::sync::Arc;

use datafusion::common::{JoinSide, JoinType};
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::build_join_schema;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use tandem_proto::StageId;

use super::keys::{Keys, column};
use crate::hidden::HideExec;
use crate::plan::Plan;
use crate::probe::ProbeExec;
use crate::shuffle::{ReadMode, ShuffleReadExec};

/// An exchanged input whose rows have all keys that find a partner.
#[derive(Debug, Clone)]
pub(crate) struct KeySource {
    pub(crate) stage: StageId,
    /// Its reader.
    pub(crate) read: Plan,
    /// The columns of its keys, by which it is partitioned, in the order of the join's.
    pub(crate) columns: Vec<usize>,
}

/// Whether the rows of one side of a join count only when they have a partner on the other.
pub(crate) fn needs_partner(join: &HashJoinExec, side: JoinSide) -> bool {
    let partitioned = *join.partition_mode() == PartitionMode::Partitioned && !join.null_aware;
    let needs_partner = match join.join_type() {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => true,
        JoinType::Left | JoinType::LeftAnti => side == JoinSide::Right,
        JoinType::Right | JoinType::RightAnti => side == JoinSide::Left,
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => false,
    };
    partitioned && needs_partner
}

/// What a join compares: columns of the side that knows the keys, and expressions of the `other` side.
pub(crate) fn compared(join: &HashJoinExec, other: JoinSide) -> Option<(Vec<usize>, Keys)> {
    let (left, right) = (join.left().schema(), join.right().schema());
    let pairs = join.on().iter().map(|(on_left, on_right)| {
        // Equal values of different types may have different hashes.
        let same_type = on_left.data_type(&left).ok()? == on_right.data_type(&right).ok()?;
        let (knows, looks) = if other == JoinSide::Right { (on_left, on_right) } else { (on_right, on_left) };
        same_type.then_some((column(knows)?, Arc::clone(looks)))
    });
    pairs.collect::<Option<Vec<_>>>().map(|pairs| pairs.into_iter().unzip())
}

/// The exchanged inputs of `plan` that have all values of its columns `keys`, and are partitioned by them.
pub(crate) fn key_sources(plan: &Plan, keys: &[usize]) -> Vec<KeySource> {
    if let Some(read) = plan.downcast_ref::<ShuffleReadExec>() {
        return is_partitioned_by(read, keys)
            .then(|| KeySource { stage: read.stage(), read: Arc::clone(plan), columns: keys.to_vec() })
            .into_iter()
            .collect();
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        return join_sources(join, keys);
    }
    let keys = if plan.is::<SortExec>() || plan.is::<ProbeExec>() || plan.is::<HideExec>() {
        Some(keys.to_vec())
    } else {
        keys_below(plan, keys)
    };
    keys.map(|keys| key_sources(plan.children()[0], &keys)).unwrap_or_default()
}

/// The columns of the only input of `plan` that its columns `keys` are, when no row of other keys decides what becomes of a row.
pub(crate) fn keys_below(plan: &Plan, keys: &[usize]) -> Option<Vec<usize>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        keys.iter().map(|&key| column(&projection.expr().get(key)?.expr)).collect()
    } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        projected(filter.projection().as_deref(), keys).filter(|_| filter.fetch().is_none())
    } else if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        // What is grouped by comes first, in this order.
        let groups = aggregate.group_expr();
        let whole = !groups.has_grouping_set() && aggregate.limit_options().is_none();
        keys.iter().map(|&key| column(&groups.expr().get(key).filter(|_| whole)?.0)).collect()
    } else {
        None
    }
}

/// A row that a join puts out has its keys from one side; where it needs a partner, the other side has them too.
fn join_sources(join: &HashJoinExec, keys: &[usize]) -> Vec<KeySource> {
    let Some(keys) = projected(join.projection.as_deref(), keys) else { return Vec::new() };
    let (left, right) = (join.left().schema(), join.right().schema());
    let (_, columns) = build_join_schema(&left, &right, join.join_type());
    let (sides, paired): (&[JoinSide], bool) = match join.join_type() {
        JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => (&[JoinSide::Left, JoinSide::Right], true),
        JoinType::Left | JoinType::LeftAnti => (&[JoinSide::Left], false),
        JoinType::Right | JoinType::RightAnti => (&[JoinSide::Right], false),
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => (&[], false),
    };
    let partner = |side: JoinSide, index: usize| {
        let pairs =
            join.on().iter().map(|(left, right)| if side == JoinSide::Left { (left, right) } else { (right, left) });
        pairs.filter(|(_, other)| column(other) == Some(index)).find_map(|(own, _)| column(own))
    };
    let key_on = |side: JoinSide, key: &usize| {
        let place = columns.get(*key)?;
        if place.side == side { Some(place.index) } else { paired.then(|| partner(side, place.index)).flatten() }
    };
    let sources = sides.iter().filter_map(|&side| {
        let input = if side == JoinSide::Left { join.left() } else { join.right() };
        let keys = keys.iter().map(|key| key_on(side, key)).collect::<Option<Vec<_>>>()?;
        Some(key_sources(input, &keys))
    });
    sources.flatten().collect()
}

fn is_partitioned_by(read: &ShuffleReadExec, keys: &[usize]) -> bool {
    let Partitioning::Hash(by, _) = &read.properties().partitioning else { return false };
    read.mode() == ReadMode::Hash && by.iter().map(column).eq(keys.iter().copied().map(Some))
}

fn projected(projection: Option<&[usize]>, keys: &[usize]) -> Option<Vec<usize>> {
    match projection {
        Some(projection) => keys.iter().map(|&key| projection.get(key).copied()).collect(),
        None => Some(keys.to_vec()),
    }
}
