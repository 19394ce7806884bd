//! Text files as a table: planned once, divided between partitions by each query.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::plan::ScanPlan;
use super::scan::ScanExec;
use super::split::divide;

/// A query that wants no more rows than this reads them in one partition, so that files stay whole.
const SMALL_LIMIT: usize = 10_000;

/// The text files of one source.
#[derive(Debug)]
pub(crate) struct TextTable {
    plan: Arc<ScanPlan>,
}

impl TextTable {
    pub(crate) fn new(plan: ScanPlan) -> Self {
        Self { plan: Arc::new(plan) }
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted = match limit {
            Some(limit) if limit <= SMALL_LIMIT => 1,
            _ => state.config().target_partitions(),
        };
        let partitions = Arc::new(divide(&self.plan.files, wanted));
        let all = || (0..self.plan.schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Ok(Arc::new(ScanExec::new(self.plan.clone(), partitions, projection, limit)))
    }
}
