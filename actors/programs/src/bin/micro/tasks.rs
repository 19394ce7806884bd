//! Tasks that do nothing.

use tandem::prelude::*;

use crate::measure::{latency, rate};

/// Tasks that one client has under way at once, and each of several.
const BATCH: u64 = 1_000;
const BATCH_OF_EACH: u64 = 10_000;
const CLIENTS: u64 = 4;

#[tandem::task]
pub(crate) fn nothing() {}

/// Submits tasks beside others.
struct Client;

#[tandem::actor]
impl Client {
    fn new() -> Self {
        Self
    }

    async fn submit(&self, ctx: Context) -> Result<()> {
        batch(&ctx, BATCH_OF_EACH).await
    }
}

async fn batch(ctx: &Context, tasks: u64) -> Result<()> {
    let tasks: Vec<_> = (0..tasks).map(|_| nothing::submit(ctx)).collect();
    ctx.get_all(&tasks).await?;
    Ok(())
}

pub(crate) async fn measure(ctx: &Context) -> Result<()> {
    latency("task, submit and get", async || Ok(nothing::submit(ctx).await?)).await?;
    rate("tasks, one client", async || batch(ctx, BATCH).await.map(|()| BATCH)).await?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Client::spawn(ctx).await?);
    }
    rate("tasks, four clients", async || {
        let batches: Vec<_> = clients.iter().map(ClientHandle::submit).collect();
        ctx.get_all(&batches).await?;
        Ok(CLIENTS * BATCH_OF_EACH)
    })
    .await
}
