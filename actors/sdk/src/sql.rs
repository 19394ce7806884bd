//! Statements of programs: queries over files and objects, whose rows are objects.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};

use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::process::Process;
use crate::value::Batches;

/// Rows in parts, each of them an object: the result of [`Context::sql`], or objects that are rows of the same columns.
///
/// The rows are where they were made, until a task or the program reads them.
///
/// ```
/// use tandem::prelude::*;
///
/// #[tandem::task]
/// fn score(rows: Batches) -> Result<Batches> {
///     Ok(rows) // columns would be added here
/// }
///
/// async fn best(ctx: &Context) -> Result<Batches> {
///     let orders = ctx.sql("SELECT id, price FROM orders").file("orders", "s3://shop/orders.parquet").await?;
///     let scored: Table = orders.parts().iter().map(|part| score::submit(ctx, part)).collect();
///     let best = ctx.sql("SELECT * FROM scored ORDER BY price DESC LIMIT 10").table("scored", &scored).await?;
///     Ok(best.rows(ctx).await?)
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Table {
    parts: Vec<ObjectRef<Batches>>,
}

impl Table {
    /// Its parts, in order. A table of a statement has at least one.
    pub fn parts(&self) -> &[ObjectRef<Batches>] {
        &self.parts
    }

    /// All rows, brought here.
    ///
    /// # Errors
    /// Why a part has no value, or that parts have different columns.
    pub async fn rows(&self, ctx: &Context) -> Result<Batches, Failure> {
        let parts = ctx.get_all(&self.parts).await?;
        let mismatch = |what: String| Failure::new(FailureKind::Mismatch, "", what);
        let schema = parts.first().map(|part| Arc::clone(part.schema()));
        let schema = schema.ok_or_else(|| mismatch("a table without parts has no columns".to_owned()))?;
        let batches = parts.into_iter().flatten().collect();
        Batches::try_new(schema, batches).map_err(|error| mismatch(error.to_string()))
    }
}

impl FromIterator<ObjectRef<Batches>> for Table {
    fn from_iter<I: IntoIterator<Item = ObjectRef<Batches>>>(parts: I) -> Self {
        Self { parts: parts.into_iter().collect() }
    }
}

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
        let handles = table.parts.iter().map(|part| Arc::clone(part.handle())).collect();
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
