//! Calls of actors that do nothing.

use tandem::prelude::*;

use crate::measure::{latency, rate};

/// Calls that one caller has under way at once, and each of several.
const BATCH: u64 = 1_000;
const BATCH_OF_EACH: u64 = 5_000;
const CALLERS: u64 = 4;

/// Answers.
struct Echo;

#[tandem::actor]
impl Echo {
    fn new() -> Self {
        Self
    }

    fn nothing(&self) {}

    fn same(&self, n: u64) -> u64 {
        n
    }

    async fn later(&self) {}
}

/// Calls an actor beside others.
struct Caller {
    echo: EchoHandle,
}

#[tandem::actor]
impl Caller {
    fn new(echo: EchoHandle) -> Self {
        Self { echo }
    }

    async fn call(&self, ctx: Context) -> Result<()> {
        batch(&ctx, &self.echo, BATCH_OF_EACH).await
    }

    /// Passes the same object with each call.
    async fn pass(&self, ctx: Context) -> Result<()> {
        let zero = ctx.put(&0_u64)?;
        let calls: Vec<_> = (0..BATCH).map(|_| self.echo.same(&zero)).collect();
        ctx.get_all(&calls).await?;
        Ok(())
    }
}

async fn batch(ctx: &Context, echo: &EchoHandle, calls: u64) -> Result<()> {
    let calls: Vec<_> = (0..calls).map(|_| echo.nothing()).collect();
    ctx.get_all(&calls).await?;
    Ok(())
}

pub(crate) async fn measure(ctx: &Context) -> Result<()> {
    let echo = Echo::spawn(ctx).await?;
    latency("actor call", async || Ok(echo.nothing().await?)).await?;
    rate("actor calls, one caller", async || batch(ctx, &echo, BATCH).await.map(|()| BATCH)).await?;
    let concurrent = Echo::spawn(ctx).concurrency(16).await?;
    rate("actor calls, 16 at once", async || batch(ctx, &concurrent, BATCH).await.map(|()| BATCH)).await?;
    latency("async actor call", async || Ok(echo.later().await?)).await?;
    rate("async actor calls, one caller", async || {
        let calls: Vec<_> = (0..BATCH).map(|_| concurrent.later()).collect();
        ctx.get_all(&calls).await?;
        Ok(BATCH)
    })
    .await?;
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        callers.push(Caller::spawn(ctx, echo.clone()).await?);
    }
    rate("actor calls, four callers", async || {
        let batches: Vec<_> = callers.iter().map(CallerHandle::call).collect();
        ctx.get_all(&batches).await?;
        Ok(CALLERS * BATCH_OF_EACH)
    })
    .await?;
    rate("actor calls with an object as argument", async || Ok(callers[0].pass().await.map(|()| BATCH)?)).await
}
