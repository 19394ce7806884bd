//! One planning session: its settings, its storage, and the tables that SQL can name in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::datasource::TableProvider;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use tandem_exec::error::PlanError;
use tandem_exec::session::QuerySettings;
use tandem_exec::storage::Storage;

use super::sql_text::SqlText;
use super::statement;
use crate::job_file::suggestion;

/// Where one statement or job file is planned.
pub(super) struct PlanSession {
    pub(super) context: SessionContext,
    pub(super) storage: Arc<Storage>,
    pub(super) settings: QuerySettings,
    base_dir: PathBuf,
    names: BTreeSet<String>,
}

impl PlanSession {
    /// A session without tables. `environment` has the credentials of storage.
    pub(super) fn new(
        slots: u32,
        options: &BTreeMap<String, String>,
        environment: BTreeMap<String, String>,
        base_dir: &str,
    ) -> Result<Self, PlanError> {
        let settings = QuerySettings::new(slots as usize, options);
        let storage = Arc::new(Storage::new(environment));
        let context = settings.planning_context(storage.runtime(&RuntimeEnv::default()))?;
        Ok(Self { context, storage, settings, base_dir: base_dir.into(), names: BTreeSet::new() })
    }

    /// A path as a user wrote it, made absolute.
    pub(super) fn absolute(&self, path: &str) -> Result<String, PlanError> {
        Ok(self.storage.resolve(path, &self.base_dir)?.to_string())
    }

    /// The size of all files at these absolute paths.
    pub(super) async fn size_of(&self, paths: impl Iterator<Item = &str>) -> Result<u64, PlanError> {
        let mut bytes = 0;
        for path in paths {
            let location = self.storage.resolve(path, &self.base_dir)?;
            bytes += self.storage.list(&location).await?.iter().map(|file| file.size).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Makes `name` a table of this session.
    pub(super) fn register(&mut self, name: &str, table: Arc<dyn TableProvider>) -> Result<(), PlanError> {
        self.context.register_table(TableReference::bare(name), table)?;
        self.names.insert(name.to_owned());
        Ok(())
    }

    /// Lets errors suggest `name` without opening it.
    pub(super) fn mention(&mut self, name: &str) {
        self.names.insert(name.to_owned());
    }

    /// Whether SQL can name this table.
    pub(super) fn has_table(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A plan that reads the whole table `name`.
    pub(super) async fn scan(&self, name: &str) -> Result<LogicalPlan, PlanError> {
        Ok(self.context.table(TableReference::bare(name)).await?.into_unoptimized_plan())
    }

    /// The logical plan of `statement`, every table of which is registered.
    pub(super) async fn logical_plan(&self, statement: Statement, sql: &SqlText<'_>) -> Result<LogicalPlan, PlanError> {
        self.context.state().statement_to_plan(statement).await.map_err(|error| sql.explain(&error))
    }

    /// Names the first table of `statement` that there is not.
    pub(super) fn check_tables(&self, statement: &Statement, sql: &SqlText<'_>) -> Result<(), PlanError> {
        for reference in statement::tables_of(statement, &self.context, sql)? {
            let name = reference.table();
            if reference.schema() != Some("information_schema") && !self.has_table(name) {
                let help = suggestion(name, self.names.iter().map(String::as_str), "table");
                return Err(sql.error_about(name, format!("there is no table `{reference}`"), Some(help)));
            }
        }
        Ok(())
    }
}
