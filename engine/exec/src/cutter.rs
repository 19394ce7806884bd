//! Cuts a physical plan into stages at its exchanges.
//!
//! ```text
//!   RepartitionExec(Hash)        stage ends: its output is hash partitioned     ShuffleReadExec(Hash)
//!   CoalescePartitionsExec       stage ends, unless it has one partition        ShuffleReadExec(All)
//!   SortPreservingMergeExec      stage ends below the merge                     merge over ShuffleReadExec(Each)
//!   build side of a broadcast    stage ends, unless it is next to nothing       ShuffleReadExec(All) in every task
//!   counts of records for a scan as where it is coalesced                       ShuffleReadExec(All) in every task
//!   large side of a join         rows without a partner are dropped below the exchange, by what a digest stage knows
//!   ScalarSubqueryExec           each subquery is a stage; every stage that uses its value reads it
//!   FunctionExec with needs      a stage of its own: what is below ends, and it too  ShuffleReadExec(Each)
//!   RecursiveQueryExec           stays whole, one task
//! ```
//!
//! Bottom-up: what is below an exchange becomes a stage, what is above goes on with a reader as its leaf. Invariants: a
//! stage plan has no exchange inside (but below a recursive query), and any subset of its partitions can be executed alone
//! unless the stage says `share_plan`.

mod joins;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{internal_err, plan_err};
use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ExecutionPlanProperties};
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ReplaceChildrenOptions, displayable};
use tandem_graph::{Divisible, Fusion, Stage, StageGraph, StageRole, Variant};
use tandem_proto::StageId;

use self::joins::UsefulKeys;
use crate::adaptive::AdaptiveOptions;
use crate::codec;
use crate::divide;
use crate::function::{FunctionExec, InOrderExec, SealedExec, SpreadExec};
use crate::fuse::{ExchangedJoin, exchanged_join, fuse};
use crate::plan::{
    Plan, any_expression, describe, estimated_rows, hash_outputs, is_broadcast, is_cheap, is_read, is_volatile, needs,
    partitions, read_count, read_stages, shares_state, stage_body, takes_any_rows, unfiltered,
};
use crate::shuffle::{ReadMode, ShuffleReadExec};
use crate::sink::SinkSpec;
use crate::ties::breaks_ties;

/// Stages that one plan may take the place of, itself included.
const MAX_FUSED: usize = 4;

/// Collects the stages of one query or job.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    options: AdaptiveOptions,
    stages: Vec<Stage>,
    /// What each stage was made of.
    sources: Vec<StageSource>,
    /// Exchange stages by their encoded plan: an equal one is read again instead of run again.
    known: HashMap<Bytes, StageId>,
    /// Stages whose output is read producer by producer.
    read_each: BTreeSet<StageId>,
    /// Subqueries whose values the plan being cut may use, innermost last.
    subqueries: Vec<ScalarSubqueryScope>,
}

/// The plans of a stage before they were encoded.
#[derive(Debug)]
struct StageSource {
    plan: Plan,
    /// Its fused variants, in their order.
    variants: Vec<Plan>,
    /// Rows it puts out, as estimated from what is known of the tables.
    rows: Option<u64>,
}

/// The subqueries of one `ScalarSubqueryExec`, each already a stage.
#[derive(Debug)]
struct ScalarSubqueryScope {
    links: Vec<ScalarSubqueryLink>,
    results: datafusion::logical_expr::physical_planning_context::ScalarSubqueryResults,
}

impl GraphBuilder {
    /// A graph without stages, whose stages may adapt as `options` say.
    pub fn new(options: AdaptiveOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Cuts `plan`; its partitions, in order, are the rows the client gets.
    pub fn add_result(&mut self, plan: Plan) -> Result<StageId> {
        let plan = self.cut(plan)?;
        self.add_stage(plan, StageRole::Result, None)
    }

    /// Cuts `plan`; every partition of it writes files of `sink`.
    pub fn add_sink(&mut self, plan: Plan, sink: &SinkSpec) -> Result<StageId> {
        let plan = self.cut(plan)?;
        self.add_stage(plan, StageRole::Sink(sink.name.clone()), Some(sink))
    }

    /// Cuts `plan` and keeps its output for any number of readers; the returned leaf reads it, partition by partition.
    pub fn add_table(&mut self, plan: Plan) -> Result<Plan> {
        let plan = self.cut(plan)?;
        self.exchange(plan, ReadMode::Each)
    }

    /// The stages so far, as a graph.
    pub fn finish(mut self) -> StageGraph {
        for stage in &mut self.stages {
            // Who reads output by output expects one per partition; of a result, also the order counts.
            let by_output = self.read_each.contains(&stage.id);
            if by_output || stage.role == StageRole::Result {
                stage.divisible.split_over = None;
                stage.fusion = None;
            }
            stage.divisible.mergeable &= !by_output;
        }
        self.keep_shared_stages();
        StageGraph { stages: self.stages }
    }

    /// A stage that others read too is run anyway: nothing is fused with it.
    fn keep_shared_stages(&mut self) {
        let mut readers: BTreeMap<StageId, u32> = BTreeMap::new();
        for input in self.stages.iter().flat_map(|stage| &stage.inputs) {
            *readers.entry(*input).or_default() += 1;
        }
        for stage in &mut self.stages {
            stage.fusion.take_if(|fusion| readers.get(&fusion.probe) != Some(&1));
        }
    }

    /// Replaces every exchange of `plan` by a reader of the stage below it.
    fn cut(&mut self, plan: Plan) -> Result<Plan> {
        check_limits(&plan)?;
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return self.cut_repartition(repartition, &plan, None);
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>()
            && let Some(large) = self.large_side(join)
        {
            let children = self.cut_join(join, large)?;
            return replace(plan, children);
        }
        if let Some(coalesce) = plan.downcast_ref::<CoalescePartitionsExec>() {
            let input = self.cut(Arc::clone(coalesce.input()))?;
            return self.gather(input, coalesce.fetch());
        }
        if let Some(merge) = plan.downcast_ref::<SortPreservingMergeExec>() {
            let input = self.cut(Arc::clone(merge.input()))?;
            let input = if partitions(&input) == 1 { input } else { self.exchange(input, ReadMode::Each)? };
            return replace(plan, vec![input]);
        }
        if let Some(sealed) = plan.downcast_ref::<SealedExec>() {
            return self.cut(Arc::clone(sealed.plan()));
        }
        if let Some(spread) = plan.downcast_ref::<SpreadExec>() {
            let input = self.cut(Arc::clone(spread.input()))?;
            return self.exchange(replace(plan, vec![input])?, ReadMode::Hash);
        }
        if let Some(in_order) = plan.downcast_ref::<InOrderExec>() {
            let input = self.cut(Arc::clone(in_order.input()))?;
            return if partitions(&input) == 1 {
                Ok(input)
            } else {
                replace(plan, vec![self.exchange(input, ReadMode::Each)?])
            };
        }
        if let Some(subqueries) = plan.downcast_ref::<ScalarSubqueryExec>() {
            return self.cut_scalar_subqueries(subqueries);
        }
        if let Some(function) = plan.downcast_ref::<FunctionExec>()
            && function.spec().needs.is_some()
        {
            let input = self.cut(Arc::clone(function.children()[0]))?;
            let input = if is_read(&input) { input } else { self.exchange(input, ReadMode::Each)? };
            return self.exchange(replace(plan, vec![input])?, ReadMode::Each);
        }
        if plan.is::<RecursiveQueryExec>() {
            return Ok(plan);
        }
        let broadcast = is_broadcast(&plan);
        let mut children: Vec<Plan> = Vec::with_capacity(plan.children().len());
        for child in plan.children() {
            children.push(self.cut(Arc::clone(child))?);
        }
        if broadcast && partitions(&children[1]) > 1 && !is_cheap(&children[0])? {
            let build = children.remove(0);
            children.insert(0, self.exchange(build, ReadMode::All)?);
        }
        if children.is_empty() { Ok(plan) } else { replace(plan, children) }
    }

    fn cut_repartition(
        &mut self,
        repartition: &RepartitionExec,
        plan: &Plan,
        useful: Option<UsefulKeys>,
    ) -> Result<Plan> {
        let rows = estimated_rows(plan);
        let input = self.cut(Arc::clone(repartition.input()))?;
        match repartition.partitioning() {
            Partitioning::Hash(_, 1) => self.gather(input, None),
            Partitioning::Hash(..) => {
                let ordering = plan.output_ordering().cloned();
                let mut exchange = replace(Arc::clone(plan), vec![Arc::clone(&input)])?;
                if let Some(useful) = useful
                    && self.may_prefilter(&exchange)?
                {
                    exchange = replace(Arc::clone(plan), vec![self.prefilter(input, &useful)?])?;
                }
                let read = self.exchange(exchange, ReadMode::Hash)?;
                if let Some(stage) = read.downcast_ref::<ShuffleReadExec>().map(ShuffleReadExec::stage) {
                    self.sources[stage.0 as usize - 1].rows = rows;
                }
                Ok(match ordering {
                    Some(ordering) if read.output_ordering().is_none() => {
                        Arc::new(SortExec::new(ordering, read).with_preserve_partitioning(true))
                    }
                    _ => read,
                })
            }
            // Spreads rows over threads of one process; here partitions are spread over tasks instead.
            Partitioning::RoundRobinBatch(_) | Partitioning::UnknownPartitioning(_) => Ok(input),
            Partitioning::Range(_) => internal_err!("a range exchange cannot be cut into stages"),
        }
    }

    /// One partition with everything of `input`, or its first `fetch` rows.
    fn gather(&mut self, input: Plan, fetch: Option<usize>) -> Result<Plan> {
        let single = partitions(&input) == 1;
        let input: Plan = match fetch {
            Some(rows) if !single => Arc::new(LocalLimitExec::new(input, rows)),
            _ => input,
        };
        let input = if single { input } else { self.exchange(input, ReadMode::All)? };
        Ok(match fetch {
            Some(rows) => Arc::new(GlobalLimitExec::new(input, 0, Some(rows))),
            None => input,
        })
    }

    fn cut_scalar_subqueries(&mut self, plan: &ScalarSubqueryExec) -> Result<Plan> {
        let mut links = Vec::with_capacity(plan.subqueries().len());
        for link in plan.subqueries() {
            let subquery = self.cut(Arc::clone(&link.plan))?;
            let subquery = self.gather(subquery, None)?;
            let value = if is_cheap(&subquery)? { subquery } else { self.exchange(subquery, ReadMode::All)? };
            links.push(ScalarSubqueryLink { plan: value, index: link.index });
        }
        let scope = ScalarSubqueryScope { links, results: plan.results().clone() };
        self.subqueries.push(scope);
        let input = self.cut(Arc::clone(plan.input()));
        let scope = self.subqueries.pop();
        let input = input?;
        Ok(match scope {
            Some(scope) if uses(&input, &scope)? => Arc::new(scope.provide_to(input)),
            _ => input,
        })
    }

    /// Ends a stage with `plan` and returns its reader.
    fn exchange(&mut self, plan: Plan, mode: ReadMode) -> Result<Plan> {
        if mode == ReadMode::Each && plan.downcast_ref::<ShuffleReadExec>().is_some_and(|read| read.mode() == mode) {
            return Ok(plan);
        }
        let mut equivalences = plan.equivalence_properties().clone();
        // Rows of one producer arrive in its order; rows of several arrive in no order, and what was constant in each is not
        // the same in all.
        if mode != ReadMode::Each && partitions(&stage_body(&plan)) > 1 {
            equivalences.clear_orderings();
            equivalences.clear_per_partition_constants();
        }
        let partitioning = match mode {
            ReadMode::Hash => plan.output_partitioning().clone(),
            ReadMode::All => Partitioning::UnknownPartitioning(1),
            ReadMode::Each => Partitioning::UnknownPartitioning(partitions(&plan)),
        };
        let stage = self.add_stage(plan, StageRole::Exchange, None)?;
        if mode == ReadMode::Each {
            self.read_each.insert(stage);
        }
        let outputs = self.stages[stage.0 as usize - 1].outputs;
        Ok(Arc::new(ShuffleReadExec::new(stage, mode, outputs, equivalences, partitioning)))
    }

    /// Adds `plan` as a stage, with what it needs of the enclosing subqueries.
    fn add_stage(&mut self, plan: Plan, role: StageRole, sink: Option<&SinkSpec>) -> Result<StageId> {
        let plan = self.provide_subqueries(plan)?;
        let body = stage_body(&plan);
        let encoded = codec::encode_stage(&plan, sink)?;
        let volatile = is_volatile(&plan)?;
        let reusable = role == StageRole::Exchange && !volatile;
        if reusable && let Some(&known) = self.known.get(&encoded) {
            return Ok(known);
        }
        let repeatable = !volatile && !takes_any_rows(&plan)?;
        // Nothing else is made from what an end puts out, and of one attempt it is taken whole.
        let deterministic = role != StageRole::Exchange || (repeatable && !breaks_ties(&plan)?);
        let fusion = if repeatable && self.options.fuse_joins { self.fusion(&plan, sink)? } else { None };
        let (fusion, variants) = fusion.unzip();
        let id = StageId(self.stages.len() as u32 + 1);
        if reusable {
            self.known.insert(encoded.clone(), id);
        }
        self.stages.push(Stage {
            id,
            name: describe(&body),
            inputs: read_stages(&plan)?.into_iter().collect(),
            partitions: partitions(&body) as u32,
            share_plan: shares_state(&body)?,
            deterministic,
            outputs: hash_outputs(&plan) as u32,
            divisible: if volatile { Divisible::default() } else { self.divisible(&body)? },
            role,
            plan: encoded,
            display: displayable(plan.as_ref()).indent(false).to_string(),
            fusion,
            needs: needs(&body)?,
        });
        self.sources.push(StageSource { plan, variants: variants.unwrap_or_default(), rows: None });
        Ok(id)
    }

    /// How the work of a stage may be divided.
    fn divisible(&self, body: &Plan) -> Result<Divisible> {
        let mut divisible = divide::divisible(body)?;
        if !self.options.divide_by_size {
            divisible.sized_by.clear();
            divisible.mergeable = false;
        }
        if !(self.options.divide_by_size && self.options.split_skew) {
            divisible.split_over = None;
        }
        Ok(divisible)
    }

    /// How `plan` may be fused with the stage that makes the probe side of its join.
    fn fusion(&self, plan: &Plan, sink: Option<&SinkSpec>) -> Result<Option<(Fusion, Vec<Plan>)>> {
        let Some(ExchangedJoin { build, probe }) = exchanged_join(plan)? else { return Ok(None) };
        let (stage, source) = (&self.stages[probe.0 as usize - 1], &self.sources[probe.0 as usize - 1]);
        let read_once = read_count(plan, probe)? == 1;
        if !read_once || !stage.deterministic || stage.share_plan || !source.plan.is::<RepartitionExec>() {
            return Ok(None);
        }
        let (mut variants, mut plans) = (Vec::new(), Vec::new());
        for source in std::iter::once(&source.plan).chain(&source.variants).take(MAX_FUSED) {
            let probe_side = unfiltered(stage_body(source));
            if partitions(&probe_side) < partitions(&stage_body(plan)) {
                return Ok(None);
            }
            let fused = fuse(plan, &probe_side)?;
            let body = stage_body(&fused);
            variants.push(Variant {
                name: describe(&body),
                inputs: read_stages(&fused)?.into_iter().collect(),
                partitions: partitions(&body) as u32,
                divisible: self.divisible(&body)?,
                plan: codec::encode_stage(&fused, sink)?,
                display: displayable(fused.as_ref()).indent(false).to_string(),
            });
            plans.push(fused);
        }
        Ok(Some((Fusion { build, probe, probe_rows: source.rows, variants }, plans)))
    }

    fn provide_subqueries(&self, plan: Plan) -> Result<Plan> {
        self.subqueries.iter().rev().try_fold(plan, |plan, scope| {
            Ok(if uses(&plan, scope)? { Arc::new(scope.provide_to(plan)) as Plan } else { plan })
        })
    }
}

impl ScalarSubqueryScope {
    fn provide_to(&self, plan: Plan) -> ScalarSubqueryExec {
        ScalarSubqueryExec::new(plan, self.links.clone(), self.results.clone())
    }
}

/// Whether an expression of `plan` uses a value of `scope`.
fn uses(plan: &Plan, scope: &ScalarSubqueryScope) -> Result<bool> {
    any_expression(plan, |root| {
        root.exists(|expr| {
            let value = expr.downcast_ref::<ScalarSubqueryExpr>();
            Ok(value.is_some_and(|value| *value.results() == scope.results))
        })
    })
}

fn replace(plan: Plan, children: Vec<Plan>) -> Result<Plan> {
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}
/// Refuses more rows than the wire has bits for: it would drop the upper ones.
fn check_limits(plan: &Plan) -> Result<()> {
    let skip = plan.downcast_ref::<GlobalLimitExec>().map(GlobalLimitExec::skip);
    match skip.into_iter().chain(plan.fetch()).find(|&rows| u32::try_from(rows).is_err()) {
        Some(rows) => plan_err!("a LIMIT or OFFSET of {rows} rows: {} is the most", u32::MAX),
        None => Ok(()),
    }
}
