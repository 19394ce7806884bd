//! A pool that is about to be started.

use std::future::IntoFuture;

use futures::future::{BoxFuture, FutureExt, try_join_all};
use tandem_actor_protocol::failure::Failure;

use super::{ActorPool, DEFAULT_CALLS};
use crate::actor::{ActorHandle, Spawn};

/// A pool of actors with all it needs to start: what [`Spawn::pool`] gives. Awaited, it is a pool of actors that have started, or
/// why one of them could not; [`Self::start`] does not wait.
pub struct NewPool<'a, H> {
    spawn: Spawn<'a, H>,
    actors: usize,
    calls_per_actor: u32,
}

impl<'a, H: ActorHandle> Spawn<'a, H> {
    /// So many actors, each started as this says, that share the calls made to them; at least one. Those of a pool with a name are
    /// found as `NAME-0`, `NAME-1` and so on.
    pub fn pool(self, actors: usize) -> NewPool<'a, H> {
        let calls_per_actor = self.options.concurrency.saturating_mul(DEFAULT_CALLS);
        NewPool { spawn: self, actors: actors.max(1), calls_per_actor }
    }
}

impl<H: ActorHandle> NewPool<'_, H> {
    /// How many calls may be under way at each actor, those that wait there included; at least one. Twice as many as it works on at
    /// once unless said: so the next ones are there when those end, but are lost with it too.
    #[must_use]
    pub fn calls_per_actor(self, calls: u32) -> Self {
        Self { calls_per_actor: calls, ..self }
    }

    /// Starts it. Calls wait until their actor is there, and fail if it cannot start.
    pub fn start(self) -> ActorPool<H> {
        let Self { spawn, actors, calls_per_actor } = self;
        let retries = spawn.options.retry_calls;
        let actors = spawn.repeat(actors).into_iter().map(Spawn::start).collect();
        ActorPool::new(actors, calls_per_actor, retries)
    }

    /// Finds those of its names that there are, and starts the others.
    async fn find_or_start(self) -> Result<ActorPool<H>, Failure>
    where
        H: Send + Sync,
    {
        let Self { spawn, actors, calls_per_actor } = self;
        let retries = spawn.options.retry_calls;
        let actors = try_join_all(spawn.repeat(actors).into_iter().map(IntoFuture::into_future)).await?;
        Ok(ActorPool::new(actors, calls_per_actor, retries))
    }
}

/// Waits until all have started. If one cannot, the others end, except for those of `get_or_create`.
impl<'a, H: ActorHandle + Send + Sync + 'a> IntoFuture for NewPool<'a, H> {
    type Output = Result<ActorPool<H>, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            if self.spawn.finds() {
                return self.find_or_start().await;
            }
            let pool = EndsPool::of(self.start());
            for actor in pool.pool().actors() {
                actor.started().await?;
            }
            Ok(pool.keep())
        }
        .boxed()
    }
}

/// Ends the actors of a pool at once when it is dropped.
pub(crate) struct EndsPool<H: ActorHandle> {
    pool: ActorPool<H>,
    kept: bool,
}

impl<H: ActorHandle> EndsPool<H> {
    pub(crate) fn of(pool: ActorPool<H>) -> Self {
        Self { pool, kept: false }
    }

    pub(crate) fn pool(&self) -> &ActorPool<H> {
        &self.pool
    }

    /// The pool, whose actors go on.
    pub(crate) fn keep(mut self) -> ActorPool<H> {
        self.kept = true;
        self.pool.clone()
    }
}

impl<H: ActorHandle> Drop for EndsPool<H> {
    fn drop(&mut self) {
        if !self.kept {
            self.pool.kill();
        }
    }
}
