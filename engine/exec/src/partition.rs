//! The plan of one partition: what a task executes that runs a single partition of a stage, or several as if they were one.
//!
//! ```text
//!   Join (7 partitions)                     Join (1 partition)
//!   ├─ Read hash (7)        select 3        ├─ Read columns 3
//!   └─ Union (7)          ───────────▶      └─ Partitions 1 ─ Scan b (5)
//!      ├─ Scan a (2)
//!      └─ Scan b (5)
//! ```
//!
//! With every leaf narrowed to one partition, the whole plan has one. Operators that wait for their other partitions, as a hash
//! join does before it publishes the filter it derives from its build side, then wait for nobody, so the filters that DataFusion
//! pushes into scans at run time work within a task. Leaves themselves are not rewritten: any source works.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::internal_datafusion_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::filter_pushdown::{FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::function::FunctionExec;
use crate::plan::{Plan, filters_of_same_columns, is_broadcast, is_leaf, only, partitions};
use crate::shuffle::ShuffleReadExec;
use crate::stop::is_added;

/// A plan narrowed to one partition.
#[derive(Debug)]
pub(crate) struct PartitionPlan {
    /// Has exactly one partition.
    pub(crate) plan: Plan,
    /// For each node of `plan` in pre-order, the number of the node of the stage plan it stands for, if any.
    pub(crate) nodes: Vec<Option<u32>>,
}

/// Narrows `plan` to some of its partitions, as one, and adds the filters that operators derive while they run, those that
/// `config` allows.
pub(crate) fn select(plan: &Plan, partitions: &[usize], config: &ConfigOptions) -> Result<PartitionPlan> {
    let mut selection = Selection { next: 0, nodes: Vec::new() };
    let plan = selection.narrow(plan, partitions)?;
    let plan = FilterPushdown::new_post_optimization().optimize(plan, config)?;
    Ok(PartitionPlan { plan, nodes: selection.nodes })
}

/// The numbers of the nodes of a plan that is run whole, as in [`PartitionPlan::nodes`].
pub(crate) fn number_whole(plan: &Plan) -> Vec<Option<u32>> {
    let mut selection = Selection { next: 0, nodes: Vec::new() };
    selection.keep(plan);
    selection.nodes
}

/// Numbers the nodes of the stage plan while it narrows them.
struct Selection {
    next: u32,
    nodes: Vec<Option<u32>>,
}

impl Selection {
    fn narrow(&mut self, plan: &Plan, selected: &[usize]) -> Result<Plan> {
        if let Some(union) = plan.downcast_ref::<UnionExec>() {
            return self.narrow_union(union, selected);
        }
        let count = partitions(plan);
        if is_leaf(plan) {
            if count == 1 {
                self.keep(plan);
                return Ok(Arc::clone(plan));
            }
            if let Some(read) = plan.downcast_ref::<ShuffleReadExec>().and_then(|read| read.columns(selected)) {
                self.keep(plan);
                return Ok(Arc::new(read));
            }
            self.nodes.push(None);
            self.keep(plan);
            return Ok(Arc::new(PartitionsExec::new(Arc::clone(plan), selected.to_vec())?));
        }
        if count == 1 && plan.children().iter().all(|child| partitions(child) == 1 || !is_pipelined(plan)) {
            self.keep(plan);
            return Ok(Arc::clone(plan));
        }
        self.number(plan);
        let broadcast = is_broadcast(plan);
        let subqueries = plan.is::<ScalarSubqueryExec>();
        let mut children = Vec::with_capacity(plan.children().len());
        for (index, child) in plan.children().into_iter().enumerate() {
            let whole = (broadcast && index == 0) || (subqueries && index > 0);
            children.push(if whole {
                self.keep(child);
                Arc::clone(child)
            } else {
                self.narrow(child, selected)?
            });
        }
        let narrowed = match (plan.downcast_ref::<FunctionExec>(), selected) {
            (Some(function), &[partition]) => Arc::new(function.as_partition(partition)) as Plan,
            _ => Arc::clone(plan),
        };
        narrowed.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// A union's partitions are those of its inputs, one input after the other.
    fn narrow_union(&mut self, union: &UnionExec, selected: &[usize]) -> Result<Plan> {
        let &[partition] = selected else {
            return Err(internal_datafusion_err!("partitions {selected:?} of a union cannot be one"));
        };
        self.next += 1;
        let mut first = 0;
        let mut narrowed = None;
        for input in union.inputs() {
            let count = partitions(input);
            if (first..first + count).contains(&partition) {
                narrowed = Some(self.narrow(input, &[partition - first])?);
            } else {
                self.skip(input);
            }
            first += count;
        }
        narrowed.ok_or_else(|| internal_datafusion_err!("a union of {first} partitions has no partition {partition}"))
    }

    /// Numbers one node that stays.
    fn number(&mut self, plan: &Plan) {
        let number = (!is_added(plan)).then_some(self.next);
        self.next += u32::from(number.is_some());
        self.nodes.push(number);
    }

    /// Numbers a whole subtree that stays as it is.
    fn keep(&mut self, plan: &Plan) {
        self.number(plan);
        for child in plan.children() {
            self.keep(child);
        }
    }

    /// Leaves out a whole subtree.
    fn skip(&mut self, plan: &Plan) {
        self.next += u32::from(!is_added(plan));
        for child in plan.children() {
            self.skip(child);
        }
    }
}

/// Whether partition `p` of `plan` comes from partition `p` of its inputs, rather than from all of them.
fn is_pipelined(plan: &Plan) -> bool {
    plan.input_distribution_requirements()
        .per_child_distributions()
        .all(|distribution| !matches!(distribution, datafusion::physical_expr::Distribution::SinglePartition))
        && !matches!(
            plan.name(),
            "SortPreservingMergeExec" | "CoalescePartitionsExec" | "InOrderExec" | "RecursiveQueryExec"
        )
}

/// Shows some partitions of a leaf, one after the other, as if they were its only one.
#[derive(Debug)]
pub(crate) struct PartitionsExec {
    leaf: Plan,
    selected: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl PartitionsExec {
    fn new(leaf: Plan, selected: Vec<usize>) -> Result<Self> {
        let count = partitions(&leaf);
        if let Some(missing) = selected.iter().find(|&&partition| partition >= count) {
            return Err(internal_datafusion_err!("{} of {count} partitions has no partition {missing}", leaf.name()));
        }
        let properties = as_one(leaf.properties(), selected.len());
        Ok(Self { leaf, selected, properties })
    }
}

/// What is known of `count` partitions of something with these properties when they are read as one: rows stay where their
/// keys put them, but several partitions after each other have no order and no constant in common.
pub(crate) fn as_one(properties: &PlanProperties, count: usize) -> Arc<PlanProperties> {
    let partitioning = match properties.output_partitioning() {
        Partitioning::Hash(keys, _) => Partitioning::Hash(keys.clone(), 1),
        _ => Partitioning::UnknownPartitioning(1),
    };
    let mut one = properties.clone().with_partitioning(partitioning);
    if count > 1 {
        let mut equivalences = properties.equivalence_properties().clone();
        equivalences.clear_orderings();
        equivalences.clear_per_partition_constants();
        one = one.with_eq_properties(equivalences);
    }
    Arc::new(one)
}

impl DisplayAs for PartitionsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionsExec: partitions={:?}", self.selected)
    }
}

impl ExecutionPlan for PartitionsExec {
    fn name(&self) -> &str {
        "PartitionsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.leaf]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        Ok(Arc::new(Self::new(only(&children)?, self.selected.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return Err(internal_datafusion_err!("the plan of one partition has no partition {partition}"));
        }
        if let &[only] = self.selected.as_slice() {
            return self.leaf.execute(only, context);
        }
        let leaf = Arc::clone(&self.leaf);
        let one_by_one = stream::iter(self.selected.clone())
            .map(move |partition| leaf.execute(partition, Arc::clone(&context)))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), one_by_one)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        None
    }

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        filters_of_same_columns(&parent_filters, &self.leaf)
    }
}
