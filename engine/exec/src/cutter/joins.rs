//! Cuts joins of which one side is large: the other side comes first, and what is known of its keys goes below the exchange of
//! the large one. Part of [`GraphBuilder`].

use std::sync::Arc;

use datafusion::common::{JoinSide, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::execution_plan::ExecutionPlanProperties;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::{GraphBuilder, replace};
use crate::codec;
use crate::plan::{Plan, estimated_rows, is_volatile, partitions, takes_any_rows};
use crate::prefilter::{self, KeyDigestExec, KeySource, Keys, PrefilterExec};
use crate::shuffle::ReadMode;

/// A side of a join is put out for its keys alone when it is expected to have so many times fewer rows than all that it reads.
const FAR_FEWER: u64 = 4;

/// The side of a join of which rows may be dropped.
#[derive(Debug)]
pub(super) struct LargeSide {
    side: JoinSide,
    /// Those that would be looked up, estimated.
    rows: u64,
    /// What they are looked up by.
    keys: Keys,
    /// The columns of the other side that have the same values.
    known_by: Vec<usize>,
}

/// The keys of one side of a join that may find a partner.
#[derive(Debug)]
pub(super) struct UsefulKeys {
    /// The input that has them all.
    source: KeySource,
    /// What is compared with them, over the schema of the side that they are of.
    keys: Keys,
}

impl GraphBuilder {
    /// The larger side of a join, if it is exchanged and large enough for rows without a partner to be dropped first.
    pub(super) fn large_side(&self, join: &HashJoinExec) -> Option<LargeSide> {
        if !self.options.prefilter_joins {
            return None;
        }
        let large = |side: JoinSide| {
            let input = if side == JoinSide::Left { join.left() } else { join.right() };
            let (known_by, keys) =
                prefilter::needs_partner(join, side).then(|| prefilter::compared(join, side)).flatten()?;
            let rows = prefilter::rows_to_look_up(input, &keys)?;
            (rows >= self.options.prefilter_min_rows as u64).then_some(LargeSide { side, rows, keys, known_by })
        };
        let sides = [JoinSide::Left, JoinSide::Right].into_iter().filter_map(large);
        sides.max_by_key(|large| large.rows)
    }

    /// Both inputs of a join, the one that knows which rows of the large one are useful first.
    pub(super) fn cut_join(&mut self, join: &HashJoinExec, large: LargeSide) -> Result<Vec<Plan>> {
        let LargeSide { side, rows, keys, known_by } = large;
        let (small, large) =
            if side == JoinSide::Left { (join.right(), join.left()) } else { (join.left(), join.right()) };
        let few = estimated_rows(small);
        let mut small = self.cut(Arc::clone(small))?;
        let source = self.key_source(&mut small, &known_by, few)?;
        let source = source.filter(|source| self.expected_rows(source).is_some_and(|expected| expected <= rows));
        let large = match source {
            Some(source) => self.cut_large(Arc::clone(large), UsefulKeys { source, keys })?,
            None => self.cut(Arc::clone(large))?,
        };
        Ok(if side == JoinSide::Left { vec![large, small] } else { vec![small, large] })
    }

    /// Cuts one side of a join, of which only rows with useful keys matter.
    fn cut_large(&mut self, plan: Plan, useful: UsefulKeys) -> Result<Plan> {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return self.cut_repartition(repartition, &plan, Some(useful));
        }
        let Some(keys) = prefilter::mapped(&plan, &useful.keys) else {
            return internal_err!("the large side of a join is not exchanged");
        };
        let input = self.cut_large(Arc::clone(plan.children()[0]), UsefulKeys { keys, ..useful })?;
        replace(plan, vec![input])
    }

    /// Who knows the values of some columns of `plan`: one of the stages it reads or, when far fewer `rows` are expected of the plan itself
    /// than of those, a stage that it becomes.
    fn key_source(&mut self, plan: &mut Plan, columns: &[usize], rows: Option<u64>) -> Result<Option<KeySource>> {
        let sources = prefilter::key_sources(plan, columns).into_iter();
        let least = sources.min_by_key(|source| self.expected_rows(source).unwrap_or(u64::MAX));
        let known = least.as_ref().and_then(|source| self.expected_rows(source)).unwrap_or(u64::MAX);
        let far_fewer = rows.is_some_and(|rows| rows <= known / FAR_FEWER);
        if !far_fewer || plan.output_ordering().is_some() || partitions(plan) < 2 {
            return Ok(least);
        }
        let keys = columns.iter().map(|&index| prefilter::column_of(&plan.schema(), index)).collect();
        let exchange = RepartitionExec::try_new(Arc::clone(plan), Partitioning::Hash(keys, partitions(plan)))?;
        *plan = self.exchange(Arc::new(exchange), ReadMode::Hash)?;
        let source = prefilter::key_sources(plan, columns).pop();
        if let Some(source) = &source {
            self.sources[source.stage.0 as usize - 1].rows = rows;
        }
        Ok(source)
    }

    /// Rows that a stage is expected to put out.
    fn expected_rows(&self, source: &KeySource) -> Option<u64> {
        self.sources[source.stage.0 as usize - 1].rows
    }

    /// Whether rows may be missing from what `exchange` puts out: not when others read the same stage, nor when what is made again
    /// might have other keys.
    pub(super) fn may_prefilter(&self, exchange: &Plan) -> Result<bool> {
        let repeatable = self.stages.iter().all(|stage| stage.deterministic);
        if !repeatable || is_volatile(exchange)? || takes_any_rows(exchange)? {
            return Ok(false);
        }
        let encoded = codec::encode_stage(&self.provide_subqueries(Arc::clone(exchange))?, None)?;
        Ok(!self.known.contains_key(&encoded))
    }

    /// `input` without the rows that have no useful key.
    pub(super) fn prefilter(&mut self, input: Plan, useful: &UsefulKeys) -> Result<Plan> {
        let UsefulKeys { source: KeySource { read, columns, .. }, keys } = useful;
        let (schema, modulus) = (read.schema(), partitions(read) as u32);
        let columns = columns.iter().map(|&index| prefilter::column_of(&schema, index)).collect();
        let digest = KeyDigestExec::new(Arc::clone(read), columns, modulus);
        let digest = self.exchange(Arc::new(digest), ReadMode::All)?;
        prefilter::place(&input, keys, |rows, keys| Arc::new(PrefilterExec::new(digest, rows, keys, modulus)))
    }
}
