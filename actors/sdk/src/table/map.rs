//! A table made of another one by a task for each part.

use std::future::IntoFuture;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tandem_actor_protocol::failure::Failure;

use super::Table;
use crate::context::Context;
use crate::getting::FirstEnded;
use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::value::Batches;

/// Tasks under way, unless said: more than most clusters run at once, and few enough to wait anywhere.
const DEFAULT_AT_ONCE: usize = 256;

impl Table {
    /// A table of what a task makes of each part of this one, in the same order. Each task runs near its part, and is retried as it
    /// says. If one fails, so does the whole, for the same reason: the other tasks are cancelled, and what was made is freed.
    ///
    /// Every part is given to a task, those without rows too: an empty result of a query has one part, so that the columns of the new
    /// table are known. A table without any part has no columns, and gives one like it.
    ///
    /// ```
    /// use tandem::prelude::*;
    ///
    /// #[tandem::task(retries = 5)]
    /// fn score(rows: Batches) -> Result<Batches> {
    ///     Ok(rows) // columns would be added here
    /// }
    ///
    /// #[tandem::task]
    /// fn cheaper_than(rows: Batches, limit: f64) -> Result<Batches> {
    ///     # let _ = limit;
    ///     Ok(rows)
    /// }
    ///
    /// async fn cheap(ctx: &Context) -> Result<Table> {
    ///     let orders: Table = ctx.sql("SELECT id, price FROM orders").file("orders", "s3://shop/orders.parquet").await?;
    ///     let scored = orders.map_batches(ctx, score::submit).await?;
    ///     let cheap = |ctx: &Context, rows| cheaper_than::with(ctx).resources(cpus(0.5)).submit(rows, 9.99);
    ///     Ok(scored.map_batches(ctx, cheap).at_once(20).await?)
    /// }
    /// ```
    pub fn map_batches<'a, F>(&self, ctx: &'a Context, task: F) -> MapBatches<'a, F>
    where
        F: FnMut(&Context, ObjectRef<Batches>) -> ObjectRef<Batches>,
    {
        MapBatches { ctx, parts: self.parts.clone(), task, at_once: DEFAULT_AT_ONCE }
    }
}

/// A table before it is awaited; see [`Table::map_batches`]. Dropped while it is, it cancels its tasks.
#[must_use = "tasks are submitted when it is awaited"]
pub struct MapBatches<'a, F> {
    ctx: &'a Context,
    parts: Vec<ObjectRef<Batches>>,
    task: F,
    at_once: usize,
}

impl<F> MapBatches<'_, F> {
    /// So many tasks are under way at most, those that wait for a place included; 256 unless said.
    pub fn at_once(self, tasks: usize) -> Self {
        Self { at_once: tasks.max(1), ..self }
    }
}

impl<'a, F> IntoFuture for MapBatches<'a, F>
where
    F: FnMut(&Context, ObjectRef<Batches>) -> ObjectRef<Batches> + Send + 'a,
{
    type Output = Result<Table, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { ctx, parts, mut task, at_once } = self;
        async move {
            let ctx = ctx.telling_ends();
            let mut made: Vec<Option<ObjectRef<Batches>>> = vec![None; parts.len()];
            let mut parts = parts.into_iter().enumerate();
            let mut under_way = UnderWay::default();
            loop {
                while under_way.0.len() < at_once
                    && let Some((index, part)) = parts.next()
                {
                    under_way.add(index, task(&ctx, part));
                }
                if under_way.0.is_empty() {
                    return Ok(made.into_iter().flatten().collect());
                }
                for (index, object) in under_way.some_ended().await? {
                    made[index] = Some(object);
                }
            }
        }
        .boxed()
    }
}

/// Tasks that have not ended, each for a part. Dropped, it cancels them.
#[derive(Default)]
struct UnderWay(Vec<OneUnderWay>);

struct OneUnderWay {
    index: usize,
    object: ObjectRef<Batches>,
    /// There once it has ended.
    end: Arc<Handle>,
}

impl UnderWay {
    fn add(&mut self, index: usize, object: ObjectRef<Batches>) {
        let end = object.handle().take_end().unwrap_or_else(|| Arc::clone(object.handle()));
        self.0.push(OneUnderWay { index, object, end });
    }

    /// Waits until some have ended, and gives what they made.
    ///
    /// # Errors
    /// Why one has failed.
    async fn some_ended(&mut self) -> Result<Vec<(usize, ObjectRef<Batches>)>, Failure> {
        let ends = self.0.iter().map(|one| Arc::clone(&one.end)).collect();
        let mut made = Vec::new();
        // From the last one on, so that the others stay where they are.
        for (at, outcome) in FirstEnded::new(ends).await.into_iter().rev() {
            let OneUnderWay { index, object, .. } = self.0.remove(at);
            outcome?;
            made.push((index, object));
        }
        Ok(made)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.iter().for_each(|one| one.object.abandon());
    }
}
