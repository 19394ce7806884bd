//! Statements of programs: queries over files and objects, whose rows are objects.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use tandem_actor_protocol::failure::Failure;

use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::process::Process;
use crate::table::Table;

impl Context {
    /// A query over files and objects. It runs on this worker, on the threads and in the memory of SQL stages; awaiting it gives
    /// the rows.
    ///
    /// ```
    /// use tandem::prelude::*;
    ///
    /// async fn count(ctx: &Context) -> Result<Table> {
    ///     Ok(ctx.sql("SELECT count(*) AS n FROM t").file("t", "/data/events.parquet").await?)
    /// }
    /// ```
    pub fn sql(&self, statement: impl Into<String>) -> Sql<'_> {
        Sql { ctx: self, statement: statement.into(), files: Vec::new(), tables: Vec::new() }
    }
}

/// A query, before it is awaited; see [`Context::sql`].
#[must_use = "a query runs when it is awaited"]
pub struct Sql<'a> {
    ctx: &'a Context,
    statement: String,
    files: Vec<(String, String)>,
    tables: Vec<(String, Vec<Arc<Handle>>)>,
}

impl Sql<'_> {
    /// A table of files: an absolute path, or one of object storage, whose ending says the format.
    pub fn file(mut self, name: impl Into<String>, path: impl Into<String>) -> Self {
        self.files.push((name.into(), path.into()));
        self
    }

    /// A table of objects.
    pub fn table(mut self, name: impl Into<String>, table: &Table) -> Self {
        let handles = table.parts().iter().map(|part| Arc::clone(part.handle())).collect();
        self.tables.push((name.into(), handles));
        self
    }
}

impl<'a> IntoFuture for Sql<'a> {
    type Output = Result<Table, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { ctx, statement, files, tables } = self;
        let process: &Arc<Process> = ctx.process();
        Box::pin(async move {
            // They are held until the statement has been answered.
            let failed = tables.iter().flat_map(|(_, parts)| parts).find_map(|part| part.never_sent());
            if let Some(failure) = failed {
                return Err(Failure::clone(&failure));
            }
            let ids = |parts: &[Arc<Handle>]| parts.iter().map(|part| part.id()).collect();
            let objects = tables.iter().map(|(name, parts)| (name.clone(), ids(parts))).collect();
            match process.query(statement, files, objects).await {
                Ok(rows) => Ok(rows?.into_iter().map(ObjectRef::new).collect()),
                Err(_) => Err(process.unanswered()),
            }
        })
    }
}
