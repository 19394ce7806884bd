//! Statements over objects and files, run by this worker alone, on its task threads and within its memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use tandem_exec::nesting::check_text;
use tandem_exec::session::QuerySettings;
use tandem_exec::source::{SourceSpec, open_source};
use tandem_exec::storage::Storage;
use tandem_runtime::SqlQuery;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::Refused;
use super::objects::Objects;
use crate::actors::tables;

/// Where statements run.
#[derive(Debug, Clone)]
pub(crate) struct Alone {
    runtime: Arc<RuntimeEnv>,
    /// Threads of storage, and of tasks.
    io: Handle,
    threads: Handle,
    partitions: usize,
}

impl Alone {
    /// Statements take memory and disk of `runtime` and run on `threads`, `partitions` parts at once.
    pub(crate) fn new(runtime: Arc<RuntimeEnv>, io: Handle, threads: Handle, partitions: usize) -> Self {
        Self { runtime, io, threads, partitions }
    }

    /// Runs one and has `objects` made of its rows. `environment` has the credentials of storage.
    pub(super) async fn run(
        &self,
        environment: BTreeMap<String, String>,
        query: SqlQuery,
        objects: Objects,
    ) -> Result<(), Refused> {
        let alone = self.clone();
        let running = self.threads.spawn(async move { alone.rows(environment, query, objects).await });
        AbortOnDropHandle::new(running).await.unwrap_or_else(|error| Err(format!("the statement stopped: {error}")))
    }

    async fn rows(
        &self,
        environment: BTreeMap<String, String>,
        query: SqlQuery,
        mut objects: Objects,
    ) -> Result<(), Refused> {
        let settings = QuerySettings::new(self.partitions, &BTreeMap::new());
        let storage = Arc::new(Storage::new(environment).with_io_runtime(self.io.clone()));
        let context = settings.planning_context(storage.runtime(&self.runtime)).map_err(|error| error.to_string())?;
        for (name, path) in &query.request.tables {
            let spec = SourceSpec::new(name.clone(), path.clone());
            let opened = open_source(&spec, &storage, &context).await.map_err(|error| error.to_string())?;
            context.register_table(name.as_str(), opened.table).map_err(|error| refused(&error))?;
        }
        for (name, streams) in query.tables {
            register(&context, &name, streams)?;
        }
        let reads_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        check_text(&query.request.sql, &context).map_err(|error| refused(&error))?;
        let frame = context.sql_with_options(&query.request.sql, reads_only).await.map_err(|error| refused(&error))?;
        let mut rows = frame.execute_stream().await.map_err(|error| refused(&error))?;
        let schema = rows.schema();
        while let Some(batch) = rows.try_next().await.map_err(|error| refused(&error))? {
            objects.push(batch).await?;
        }
        objects.finish(&schema).await
    }
}

/// Makes a table of objects.
fn register(context: &SessionContext, name: &str, streams: Vec<Bytes>) -> Result<(), Refused> {
    let mut schema = None;
    let mut batches = Vec::new();
    for stream in streams {
        let table = tables::decode(stream).map_err(|error| format!("an object of table `{name}`: {error}"))?;
        let first = schema.get_or_insert_with(|| Arc::clone(&table.schema));
        if *first != table.schema {
            return Err(format!("the objects of table `{name}` have different columns"));
        }
        batches.extend(table.batches);
    }
    let schema = schema.ok_or_else(|| format!("table `{name}` has no objects"))?;
    let table = MemTable::try_new(schema, vec![batches]).map_err(|error| refused(&error))?;
    context.register_table(name, Arc::new(table)).map_err(|error| refused(&error))?;
    Ok(())
}

fn refused(error: &DataFusionError) -> Refused {
    error.strip_backtrace()
}
