//! Text files as a table: planned once, divided between partitions when a query first asks for it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use tokio::sync::Mutex;

use super::plan::{Partitions, ScanPlan};
use super::scan::ScanExec;
use super::split::divide;
use crate::storage::Storage;

/// A query that wants no more rows than this reads them in one partition, without an index of the files.
const SMALL_LIMIT: usize = 10_000;

/// The text files of one source.
#[derive(Debug)]
pub(crate) struct TextTable {
    plan: Arc<ScanPlan>,
    storage: Arc<Storage>,
    /// Made by reading through large files, so kept for the next query: how many partitions were asked for, and what
    /// they read.
    divided: Mutex<Option<(usize, Arc<Partitions>)>>,
}

impl TextTable {
    pub(crate) fn new(plan: ScanPlan, storage: Arc<Storage>) -> Self {
        Self { plan: Arc::new(plan), storage, divided: Mutex::new(None) }
    }

    async fn partitions(&self, wanted: usize) -> Result<Arc<Partitions>> {
        let mut divided = self.divided.lock().await;
        if let Some((partitions, known)) = divided.as_ref()
            && *partitions == wanted
        {
            return Ok(known.clone());
        }
        let made = divide(&self.plan, &self.storage, wanted).await;
        let made = Arc::new(made.map_err(|error| DataFusionError::External(Box::new(error)))?);
        *divided = Some((wanted, made.clone()));
        Ok(made)
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
        let partitions = self.partitions(wanted).await?;
        let all = || (0..self.plan.schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Ok(Arc::new(ScanExec::new(self.plan.clone(), partitions, projection, limit)))
    }
}
