//! Cuts a physical plan into stages at its exchanges.
//!
//! ```text
//!   RepartitionExec(Hash)        stage ends: its output is hash partitioned     ShuffleReadExec(Hash)
//!   CoalescePartitionsExec       stage ends, unless it has one partition        ShuffleReadExec(All)
//!   SortPreservingMergeExec      stage ends below the merge                     merge over ShuffleReadExec(Each)
//!   build side of a broadcast    stage ends, unless it is next to nothing       ShuffleReadExec(All) in every task
//!   ScalarSubqueryExec           each subquery is a stage; every stage that uses its value reads it
//!   RecursiveQueryExec           stays whole, one task
//! ```
//!
//! Bottom-up: what is below an exchange becomes a stage, what is above goes on with a reader as its leaf. Invariants: a
//! stage plan has no exchange inside (but below a recursive query), and any subset of its partitions can be executed alone
//! unless the stage says `share_plan`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{JoinType, internal_err};
use datafusion::error::Result;
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ExecutionPlanProperties};
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PartitionMode};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::{ScalarSubqueryExec, ScalarSubqueryLink};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ReplaceChildrenOptions, displayable};
use tandem_proto::StageId;

use crate::codec;
use crate::graph::{Stage, StageGraph, StageRole};
use crate::shuffle::{ReadMode, ShuffleReadExec};
use crate::sink::SinkSpec;

type Plan = Arc<dyn ExecutionPlan>;

/// Collects the stages of one query or job.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    stages: Vec<Stage>,
    /// Exchange stages by their encoded plan: an equal one is read again instead of run again.
    known: HashMap<Bytes, StageId>,
    /// Subqueries whose values the plan being cut may use, innermost last.
    subqueries: Vec<ScalarSubqueryScope>,
}

/// The subqueries of one `ScalarSubqueryExec`, each already a stage.
#[derive(Debug)]
struct ScalarSubqueryScope {
    links: Vec<ScalarSubqueryLink>,
    results: datafusion::logical_expr::physical_planning_context::ScalarSubqueryResults,
}

impl GraphBuilder {
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
    pub fn finish(self) -> StageGraph {
        StageGraph { stages: self.stages }
    }

    /// Replaces every exchange of `plan` by a reader of the stage below it.
    fn cut(&mut self, plan: Plan) -> Result<Plan> {
        if let Some(repartition) = plan.downcast_ref::<RepartitionExec>() {
            return self.cut_repartition(repartition, &plan);
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
        if let Some(subqueries) = plan.downcast_ref::<ScalarSubqueryExec>() {
            return self.cut_scalar_subqueries(subqueries);
        }
        if plan.is::<RecursiveQueryExec>() {
            return Ok(plan);
        }
        let broadcast = is_broadcast(&plan);
        let mut children: Vec<Plan> = Vec::with_capacity(plan.children().len());
        for child in plan.children() {
            children.push(self.cut(Arc::clone(child))?);
        }
        if broadcast && partitions(&children[1]) > 1 && !is_cheap(&children[0]) {
            let build = children.remove(0);
            children.insert(0, self.exchange(build, ReadMode::All)?);
        }
        if children.is_empty() { Ok(plan) } else { replace(plan, children) }
    }

    fn cut_repartition(&mut self, repartition: &RepartitionExec, plan: &Plan) -> Result<Plan> {
        let input = self.cut(Arc::clone(repartition.input()))?;
        match repartition.partitioning() {
            Partitioning::Hash(_, 1) => self.gather(input, None),
            Partitioning::Hash(..) => {
                let ordering = plan.output_ordering().cloned();
                let exchange = replace(Arc::clone(plan), vec![input])?;
                let read = self.exchange(exchange, ReadMode::Hash)?;
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
            let value = if is_cheap(&subquery) { subquery } else { self.exchange(subquery, ReadMode::All)? };
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
        Ok(Arc::new(ShuffleReadExec::new(stage, mode, equivalences, partitioning)))
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
            deterministic: !volatile && !takes_any_rows(&plan)?,
            outputs: hash_outputs(&plan) as u32,
            role,
            plan: encoded,
            display: displayable(plan.as_ref()).indent(false).to_string(),
        });
        Ok(id)
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

/// Whether running `plan` again could give other rows.
fn is_volatile(plan: &Plan) -> Result<bool> {
    any_expression(plan, |root| Ok(datafusion::physical_expr_common::physical_expr::is_volatile(root)))
}

/// Whether `test` holds for an expression of any operator of `plan`.
fn any_expression(plan: &Plan, test: impl Fn(&Arc<dyn PhysicalExpr>) -> Result<bool>) -> Result<bool> {
    plan.exists(|node| {
        let mut found = false;
        node.apply_expressions(&mut |root| {
            found = test(root)?;
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(found)
    })
}

/// Whether `plan` takes some rows of more without an order that says which: rows of several producers arrive in no order.
fn takes_any_rows(plan: &Plan) -> Result<bool> {
    plan.exists(|node| {
        let any = match node.name() {
            "GlobalLimitExec" | "LocalLimitExec" => {
                node.children().into_iter().any(|input| input.output_ordering().is_none())
            }
            "SortExec" | "SortPreservingMergeExec" => false,
            _ => node.fetch().is_some() && !node.children().is_empty(),
        };
        Ok(any)
    })
}

/// The stages that `plan` reads.
fn read_stages(plan: &Plan) -> Result<BTreeSet<StageId>> {
    let mut stages = BTreeSet::new();
    plan.apply(|node| {
        stages.extend(node.downcast_ref::<ShuffleReadExec>().map(ShuffleReadExec::stage));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(stages)
}

/// The part of a stage plan whose partitions are run: without the hash exchange at its top.
fn stage_body(plan: &Plan) -> Plan {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        return Arc::clone(exchange.input());
    }
    match plan.downcast_ref::<ScalarSubqueryExec>() {
        Some(subqueries) => stage_body(subqueries.input()),
        None => Arc::clone(plan),
    }
}

/// How many output partitions each partition of a stage plan writes.
fn hash_outputs(plan: &Plan) -> usize {
    if let Some(exchange) = plan.downcast_ref::<RepartitionExec>() {
        return exchange.partitioning().partition_count();
    }
    plan.downcast_ref::<ScalarSubqueryExec>().map_or(1, |subqueries| hash_outputs(subqueries.input()))
}

/// Whether an operator of `plan` needs all partitions to run on one instance of it.
fn shares_state(plan: &Plan) -> Result<bool> {
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

/// Whether `plan` is a join whose first input is read whole by every partition.
pub(crate) fn is_broadcast(plan: &Plan) -> bool {
    plan.downcast_ref::<HashJoinExec>().is_some_and(|join| *join.partition_mode() == PartitionMode::CollectLeft)
        || plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
}

/// Whether every task may as well compute `plan` itself: constants, and what is read from an earlier stage.
fn is_cheap(plan: &Plan) -> bool {
    match plan.name() {
        "PlaceholderRowExec" | "EmptyExec" | "ShuffleReadExec" => true,
        "ProjectionExec" | "GlobalLimitExec" => plan.children().into_iter().all(is_cheap),
        _ => false,
    }
}

fn partitions(plan: &Plan) -> usize {
    plan.output_partitioning().partition_count()
}

fn replace(plan: Plan, children: Vec<Plan>) -> Result<Plan> {
    plan.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// A short name for people: the operators that say most, from the leaves up.
fn describe(plan: &Plan) -> String {
    fn visit(plan: &Plan, words: &mut Vec<&'static str>) {
        for child in plan.children() {
            visit(child, words);
        }
        let word = match plan.name() {
            "DataSourceExec" | "ScanExec" => "scan",
            "ShuffleReadExec" => "read",
            "AggregateExec" => "aggregate",
            "HashJoinExec" | "SortMergeJoinExec" | "NestedLoopJoinExec" | "CrossJoinExec" => "join",
            "SortExec" => "sort",
            "SortPreservingMergeExec" => "merge",
            "WindowAggExec" | "BoundedWindowAggExec" => "window",
            "UnionExec" | "InterleaveExec" => "union",
            "RecursiveQueryExec" => "recursive",
            _ => return,
        };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
    let mut words = Vec::new();
    visit(plan, &mut words);
    if words.len() > 1 {
        words.retain(|word| *word != "read");
    }
    if words.is_empty() { "values".to_owned() } else { words.join(", ") }
}
