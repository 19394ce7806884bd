//! A table made of another one by the actors of a pool.

use std::future::IntoFuture;

use futures::future::{BoxFuture, FutureExt};
use tandem_actor_protocol::failure::Failure;

use super::Table;
use crate::actor::{ActorHandle, ActorPool, By, Calls, EndsPool, NewPool};
use crate::object_ref::ObjectRef;
use crate::value::Batches;

impl Table {
    /// This table for a pool of actors that lives as long as it works on it, because they have something that is costly to make.
    ///
    /// ```
    /// use tandem::prelude::*;
    ///
    /// struct Scorer {
    ///     model: Vec<u8>,
    /// }
    ///
    /// #[tandem::actor(max_restarts = 2, retry_calls)]
    /// impl Scorer {
    ///     fn new(model: String) -> Result<Self> {
    ///         Ok(Self { model: std::fs::read(model)? })
    ///     }
    ///
    ///     fn score(&self, rows: Batches) -> Result<Batches> {
    ///         # let _ = &self.model;
    ///         Ok(rows) // columns would be added here
    ///     }
    /// }
    ///
    /// async fn scored(ctx: &Context) -> Result<Table> {
    ///     let orders: Table = ctx.sql("SELECT id, price FROM orders").file("orders", "s3://shop/orders.parquet").await?;
    ///     let scorers = Scorer::spawn(ctx, "/models/prices").resources(cpus(1.0)).pool(4);
    ///     Ok(orders.with_actors(scorers).map_batches(ScorerHandle::score).await?)
    /// }
    /// ```
    pub fn with_actors<'a, H: ActorHandle>(&self, actors: NewPool<'a, H>) -> TableOnActors<'a, H> {
        TableOnActors { parts: self.parts.clone(), actors }
    }
}

/// A table, and the pool that is to work on it; see [`Table::with_actors`].
#[must_use = "the actors are started when what they make is awaited"]
pub struct TableOnActors<'a, H> {
    parts: Vec<ObjectRef<Batches>>,
    actors: NewPool<'a, H>,
}

impl<'a, H: ActorHandle> TableOnActors<'a, H> {
    /// A table of what a method makes of each part, in the same order. It is as with [`Table::map_batches`], with the limits and
    /// retries of the pool; but what a method has made and its worker loses is not made again.
    pub fn map_batches<F>(self, method: F) -> MapOnActors<'a, H, F>
    where
        F: FnMut(&H, ObjectRef<Batches>) -> ObjectRef<Batches>,
    {
        MapOnActors { table: self, method }
    }
}

/// A table before it is awaited; see [`TableOnActors::map_batches`]. Dropped while it is, it ends its actors.
#[must_use = "the actors are started when it is awaited"]
pub struct MapOnActors<'a, H, F> {
    table: TableOnActors<'a, H>,
    method: F,
}

impl<'a, H, F> IntoFuture for MapOnActors<'a, H, F>
where
    H: ActorHandle + Send + Sync + 'a,
    F: FnMut(&H, ObjectRef<Batches>) -> ObjectRef<Batches> + Send + 'a,
{
    type Output = Result<Table, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { table: TableOnActors { parts, actors }, method } = self;
        async move {
            if parts.is_empty() {
                return Ok(Table { parts });
            }
            let pool = EndsPool::of(actors.await?);
            let made = map_parts(pool.pool().clone(), parts, method).await?;
            pool.keep().end();
            Ok(made)
        }
        .boxed()
    }
}

impl<H: ActorHandle> ActorPool<H> {
    /// As [`TableOnActors::map_batches`], on a pool that goes on.
    ///
    /// # Errors
    /// Why a call failed. The others are cancelled.
    pub async fn map_batches<F>(&self, table: &Table, method: F) -> Result<Table, Failure>
    where
        F: FnMut(&H, ObjectRef<Batches>) -> ObjectRef<Batches>,
    {
        map_parts(self.clone(), table.parts.clone(), method).await
    }
}

async fn map_parts<H, F>(pool: ActorPool<H>, parts: Vec<ObjectRef<Batches>>, method: F) -> Result<Table, Failure>
where
    H: ActorHandle,
    F: FnMut(&H, ObjectRef<Batches>) -> ObjectRef<Batches>,
{
    let mut made: Vec<Option<ObjectRef<Batches>>> = vec![None; parts.len()];
    let mut calls = Calls::new(pool, parts.into_iter(), method, By::End);
    while let Some((index, object)) = calls.next(usize::MAX).await {
        made[index] = Some(object?);
    }
    Ok(made.into_iter().flatten().collect())
}
