//! Rows in parts: what queries give, and tasks and actors make of them.

mod map;
mod on_actors;

use std::sync::Arc;

use tandem_actor_protocol::failure::{Failure, FailureKind};

pub use self::map::MapBatches;
pub use self::on_actors::{MapOnActors, TableOnActors};
use crate::context::Context;
use crate::object_ref::ObjectRef;
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
///     let scored = orders.map_batches(ctx, score::submit).await?;
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
