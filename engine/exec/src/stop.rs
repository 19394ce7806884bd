//! Ending a task that computes. DataFusion gives its thread up, so that a task can be dropped, only where it waits for
//! input. A join may put out any number of rows, or look at any number of pairs, before it asks for more; so the rows of
//! each join count as input of what reads them, and the condition of a join fails once its task is told to stop. What takes
//! long for each row gets few rows at a time.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};

use crate::error::TaskError;
use crate::paced::PacedExec;
use crate::plan::Plan;
use crate::source::scan_of_batches;
use crate::sql_functions::is_slow;
use crate::task::TaskProgress;

/// `plan` with joins and slow functions that end when `task` is told to.
pub(crate) fn stoppable(plan: Plan, task: &Arc<TaskProgress>) -> Result<Plan> {
    plan.transform_up(|node| {
        let Transformed { data: node, transformed, .. } = fed_slowly(node)?;
        if !is_join(&node) {
            return Ok(Transformed::new_transformed(node, transformed));
        }
        let join: Plan = if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() {
            Arc::new(NestedLoopJoinExecBuilder::from(join).with_filter(guarded(join.filter(), task)).build()?)
        } else if let Some(join) = node.downcast_ref::<HashJoinExec>() {
            join.builder().with_filter(guarded(join.filter(), task)).build_exec()?
        } else {
            node
        };
        Ok(Transformed::yes(PacedExec::batches(join)))
    })
    .data()
}

/// `node` with few rows at a time, if it takes long for each.
fn fed_slowly(node: Plan) -> Result<Transformed<Plan>> {
    let mut slow = false;
    node.apply_expressions(&mut |root| {
        slow |= is_slow(root)?;
        Ok(if slow { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if !slow {
        return Ok(Transformed::no(node));
    }
    if node.children().is_empty() {
        // A projection that was made a part of the scan below it.
        let scan = scan_of_batches(&node, PacedExec::FEW_ROWS).unwrap_or(node);
        return Ok(Transformed::yes(PacedExec::few_rows(scan)));
    }
    let inputs = node.children().into_iter().map(|input| PacedExec::few_rows(Arc::clone(input))).collect();
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Ok(Transformed::yes(node.replace_children(inputs, options)?))
}

/// Whether `plan` was added by [`stoppable`], so that it is no operator of the stage.
pub(crate) fn is_added(plan: &Plan) -> bool {
    plan.is::<PacedExec>()
}

fn is_join(plan: &Plan) -> bool {
    plan.is::<NestedLoopJoinExec>() || plan.is::<HashJoinExec>() || plan.is::<CrossJoinExec>()
}

fn guarded(filter: Option<&JoinFilter>, task: &Arc<TaskProgress>) -> Option<JoinFilter> {
    let filter = filter?;
    let condition = Guarded { condition: Arc::clone(filter.expression()), task: Arc::clone(task) };
    Some(JoinFilter::new(Arc::new(condition), filter.column_indices().to_vec(), Arc::clone(filter.schema())))
}

/// A condition that is an error once its task is told to stop.
#[derive(Debug)]
struct Guarded {
    condition: Arc<dyn PhysicalExpr>,
    task: Arc<TaskProgress>,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for Guarded {
    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if self.task.is_stopped() {
            return Err(DataFusionError::from(TaskError::Retry("the task was told to stop".to_owned())));
        }
        self.condition.evaluate(batch)
    }

    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.condition.return_field(input_schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let condition = children.pop().unwrap_or_else(|| Arc::clone(&self.condition));
        Ok(Arc::new(Self { condition, task: Arc::clone(&self.task) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}
