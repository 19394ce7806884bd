//! Which steps pass the rows of one table on, so that rows in = rows removed + rows out.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::LogicalPlan;
use tandem_exec::error::PlanError;

use super::sql_text::SqlText;
use crate::job_file::Step;

/// The table whose rows flow through `step`: the one it names, or the only one it reads when it works row by row.
pub(super) fn input_of(
    step: &Step,
    plan: &LogicalPlan,
    tables: &[String],
    sql: &SqlText<'_>,
) -> Result<Option<String>, PlanError> {
    if let Some(input) = &step.input {
        if tables.contains(input) {
            return Ok(Some(input.clone()));
        }
        return Err(sql.error(format!("the step's input `{input}` is not read by its SQL"), None));
    }
    match tables {
        [only] if step.removes.is_some() || is_row_wise(plan) => Ok(Some(only.clone())),
        _ if step.removes.is_some() => {
            let help = format!("say which with input = \"…\": {}", tables.join(", "));
            Err(sql.error("the step removes rows, but reads more than one table", Some(help)))
        }
        _ => Ok(None),
    }
}

/// Whether every row that comes out of `plan` stands for one row that went in.
fn is_row_wise(plan: &LogicalPlan) -> bool {
    let mut row_wise = true;
    let visit = plan.apply(|node| {
        row_wise &= matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Window(_)
                | LogicalPlan::Limit(_)
                | LogicalPlan::TableScan(_)
        );
        Ok(if row_wise { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visit.is_ok() && row_wise
}
