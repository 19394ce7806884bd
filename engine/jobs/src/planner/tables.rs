//! The tables of a job while it is planned: from names in SQL to what they stand for.
//!
//! ```text
//!   source ─────────────► a scan in every step that reads it
//!   source with rejects ─► when read twice: a stage, so that each bad row is rejected once
//!   step read once ──────► part of its reader's plan
//!   step read twice ─────► a stage of its own, which runs once
//! ```
//! Steps are first planned against empty tables of the right schema; what those stand for is put in their place once it
//! is known how often each is read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::TableReference;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::datasource::{TableProvider, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SubqueryAlias, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// How often each table is read.
#[derive(Debug, Default)]
pub(super) struct Uses {
    times: HashMap<String, usize>,
    /// Those of which a reader may leave rows unread.
    partly: HashSet<String>,
}

impl Uses {
    /// Counts the tables that `plan` reads, `times` times each. `partly`: rows of what `plan` puts out may stay unread.
    pub(super) fn add(&mut self, plan: &LogicalPlan, times: usize, partly: bool) -> Result<()> {
        // What does not run leaves nothing unread.
        let partly = times > 0 && (partly || !reads_all(plan)?);
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let name = scan.table_name.table();
                self.add_table(name, times);
                if partly {
                    self.partly.insert(name.to_owned());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    pub(super) fn add_table(&mut self, name: &str, times: usize) {
        *self.times.entry(name.to_owned()).or_default() += times;
    }

    pub(super) fn of(&self, name: &str) -> usize {
        self.times.get(name).copied().unwrap_or(0)
    }

    /// Whether a reader of this table may leave rows of it unread.
    pub(super) fn partly(&self, name: &str) -> bool {
        self.partly.contains(name)
    }
}

/// Whether running `plan` reads its tables to the end: joins and limits may stop when what is left cannot matter.
fn reads_all(plan: &LogicalPlan) -> Result<bool> {
    let mut all = true;
    plan.apply_with_subqueries(|node| {
        all &= match node {
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            LogicalPlan::TableScan(scan) => scan.fetch.is_none(),
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => true,
            _ => false,
        };
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(all)
}

/// What names in SQL stand for.
#[derive(Debug, Default)]
pub(super) struct Resolved(HashMap<String, LogicalPlan>);

impl Resolved {
    pub(super) fn insert(&mut self, name: &str, plan: LogicalPlan) {
        self.0.insert(name.to_owned(), plan);
    }

    pub(super) fn get(&self, name: &str) -> Option<&LogicalPlan> {
        self.0.get(name)
    }

    /// `plan` with every resolved table in place of its name.
    pub(super) fn fill(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let filled = plan.transform_up_with_subqueries(|node| {
            let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
            match self.get(scan.table_name.table()) {
                None => Ok(Transformed::no(node)),
                Some(plan) => {
                    let alias = SubqueryAlias::try_new(Arc::new(plan.clone()), scan.table_name.clone())?;
                    Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
                }
            }
        })?;
        Ok(filled.data)
    }
}

/// A plan that reads `leaf`, a stage's output, under the name `name`.
pub(super) fn scan_of_stage(name: &str, leaf: Arc<dyn ExecutionPlan>) -> Result<LogicalPlan> {
    let table = Arc::new(StageTable { leaf });
    LogicalPlanBuilder::scan(TableReference::bare(name), provider_as_source(table), None)?.build()
}

/// The output of a stage as a table.
#[derive(Debug)]
struct StageTable {
    leaf: Arc<dyn ExecutionPlan>,
}

#[async_trait]
impl TableProvider for StageTable {
    fn schema(&self) -> SchemaRef {
        self.leaf.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(projection) = projection else { return Ok(Arc::clone(&self.leaf)) };
        let schema = self.leaf.schema();
        let columns = projection.iter().map(|&index| {
            let name = schema.field(index).name();
            (Arc::new(Column::new(name, index)) as _, name.clone())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::clone(&self.leaf))?))
    }
}
