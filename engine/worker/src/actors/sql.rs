//! Statements of executors: queries over files and objects, run by this worker alone, on its task threads and within its memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use tandem_exec::session::QuerySettings;
use tandem_exec::source::{SourceSpec, open_source};
use tandem_exec::storage::Storage;
use tandem_runtime::SqlQuery;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::tables;

/// The rows of one object take about so much.
const OBJECT_BYTES: usize = 32 << 20;
/// The rows of one statement, which wait in memory until the program has them.
const RESULT_BYTES: usize = 1 << 30;

/// Where statements run.
#[derive(Debug, Clone)]
pub(crate) struct Statements {
    runtime: Arc<RuntimeEnv>,
    /// Threads of storage, and of tasks.
    io: Handle,
    threads: Handle,
    partitions: usize,
}

/// Why a statement has no rows, in words.
type Refused = String;

impl Statements {
    /// Statements take memory and disk of `runtime` and run on `threads`, `partitions` parts at once.
    pub(crate) fn new(runtime: Arc<RuntimeEnv>, io: Handle, threads: Handle, partitions: usize) -> Self {
        Self { runtime, io, threads, partitions }
    }

    /// The rows as Arrow streams, at least one. `environment` has the credentials of storage.
    pub(super) async fn run(
        &self,
        environment: BTreeMap<String, String>,
        query: SqlQuery,
    ) -> Result<Vec<Bytes>, Refused> {
        let statements = self.clone();
        let running = self.threads.spawn(async move { statements.rows(environment, query).await });
        AbortOnDropHandle::new(running).await.unwrap_or_else(|error| Err(format!("the statement stopped: {error}")))
    }

    async fn rows(&self, environment: BTreeMap<String, String>, query: SqlQuery) -> Result<Vec<Bytes>, Refused> {
        let settings = QuerySettings::new(self.partitions, &BTreeMap::new());
        let storage = Arc::new(Storage::new(environment).with_io_runtime(self.io.clone()));
        let context = settings.planning_context(storage.runtime(&self.runtime)).map_err(|error| error.to_string())?;
        for (name, path) in &query.request.tables {
            // Where a program was written or submitted is not where its worker is.
            if !path.contains("://") && !path.starts_with('/') {
                return Err(format!("the path of table `{name}` is not absolute: {path}"));
            }
            let spec = SourceSpec::new(name.clone(), path.clone());
            let opened = open_source(&spec, &storage, &context).await.map_err(|error| error.to_string())?;
            context.register_table(name.as_str(), opened.table).map_err(|error| refused(&error))?;
        }
        for (name, streams) in query.tables {
            register(&context, &name, streams)?;
        }
        let reads_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        let frame = context.sql_with_options(&query.request.sql, reads_only).await.map_err(|error| refused(&error))?;
        let mut rows = frame.execute_stream().await.map_err(|error| refused(&error))?;
        let mut result = Collected::new(rows.schema());
        while let Some(batch) = rows.try_next().await.map_err(|error| refused(&error))? {
            result.push(batch)?;
        }
        result.finish()
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

/// The rows so far.
struct Collected {
    schema: SchemaRef,
    objects: Vec<Bytes>,
    open: Vec<RecordBatch>,
    open_bytes: usize,
    bytes: usize,
}

impl Collected {
    fn new(schema: SchemaRef) -> Self {
        Self { schema, objects: Vec::new(), open: Vec::new(), open_bytes: 0, bytes: 0 }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<(), Refused> {
        self.open_bytes += batch.get_array_memory_size();
        self.open.push(batch);
        if self.open_bytes >= OBJECT_BYTES {
            self.close()?;
        }
        if self.bytes + self.open_bytes > RESULT_BYTES {
            return Err(format!("the statement has more than {RESULT_BYTES} bytes of rows"));
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Refused> {
        let object = tables::encode(&self.schema, &self.open).map_err(|error| error.to_string())?;
        self.bytes += object.len();
        self.objects.push(object);
        self.open.clear();
        self.open_bytes = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Bytes>, Refused> {
        if !self.open.is_empty() || self.objects.is_empty() {
            self.close()?;
        }
        Ok(self.objects)
    }
}
