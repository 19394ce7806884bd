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
use tandem_exec::adaptive::AdaptiveOptions;
use tandem_exec::error::PlanError;
use tandem_exec::session::QuerySettings;
use tandem_exec::source::{OpenedSource, SourceSpec, open_source};
use tandem_exec::sql_functions::plan_only;
use tandem_exec::storage::Storage;

use super::ClusterShape;
use super::sql_text::SqlText;
use super::statement;
use crate::job_file::suggestion;

/// Where one statement or job file is planned.
pub(super) struct PlanSession {
    pub(super) context: SessionContext,
    pub(super) storage: Arc<Storage>,
    pub(super) settings: QuerySettings,
    cluster: ClusterShape,
    /// What the user set.
    options: BTreeMap<String, String>,
    base_dir: PathBuf,
    names: BTreeSet<String>,
    /// The size of the largest source that was opened.
    largest_source: u64,
}

impl PlanSession {
    /// A session without tables. `environment` has the credentials of storage.
    pub(super) fn new(
        cluster: ClusterShape,
        options: BTreeMap<String, String>,
        environment: BTreeMap<String, String>,
        base_dir: &str,
    ) -> Result<Self, PlanError> {
        let settings = QuerySettings::new(cluster.partitions(0), &options);
        let storage = Arc::new(Storage::new(environment));
        let context = settings.planning_context(storage.runtime(&RuntimeEnv::default()))?;
        let base_dir: PathBuf = base_dir.into();
        plan_only(&context, &base_dir);
        Ok(Self { context, storage, settings, cluster, options, base_dir, names: BTreeSet::new(), largest_source: 0 })
    }

    /// A path as a user wrote it, made absolute.
    pub(super) fn absolute(&self, path: &str) -> Result<String, PlanError> {
        Ok(self.storage.resolve(path, &self.base_dir)?.to_string())
    }

    /// Looks at the files of a source, whose paths are absolute, and makes it a table.
    pub(super) async fn open(&mut self, spec: &SourceSpec) -> Result<OpenedSource, PlanError> {
        let source = open_source(spec, &self.storage, &self.context).await?;
        self.largest_source = self.largest_source.max(source.bytes);
        self.register(&spec.name, source.table.clone())?;
        Ok(source)
    }

    /// Has plans aim at as many partitions as the opened sources are worth, unless the user has said how many.
    pub(super) fn fit_partitions(&mut self) -> Result<(), PlanError> {
        self.settings = QuerySettings::new(self.cluster.partitions(self.largest_source), &self.options);
        let partitions = self.settings.config()?.target_partitions();
        self.context.state_ref().write().config_mut().options_mut().execution.target_partitions = partitions;
        Ok(())
    }

    /// What plans may adapt to.
    pub(super) fn adaptive(&self) -> AdaptiveOptions {
        AdaptiveOptions::of(&self.context.copied_config())
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
