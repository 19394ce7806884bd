//! Many of something at once.

use tandem::prelude::*;

use crate::measure::once;

const REFS: u64 = 10_000;
const QUEUED: u64 = 1_000_000;

#[tandem::task]
fn many_args(values: Vec<ObjectRef<u64>>) -> u64 {
    values.len() as u64
}

#[tandem::task]
fn echo(n: u64) -> u64 {
    n
}

pub(crate) async fn measure(ctx: &Context) -> Result<()> {
    let refs = (0..REFS).map(|n| ctx.put(&n)).collect::<Result<Vec<_>, _>>()?;
    once("get of 10,000 refs", async || {
        tandem::ensure!(ctx.get_all(&refs).await?.len() as u64 == REFS, "not all objects came");
        Ok(())
    })
    .await?;
    once("task with 10,000 refs", async || {
        tandem::ensure!(many_args::submit(ctx, refs.clone()).await? == REFS, "not all arguments came");
        Ok(())
    })
    .await?;
    once("1 M queued tasks", async || {
        let queued: Vec<_> = (0..QUEUED).map(|n| echo::submit(ctx, n)).collect();
        let last = ctx.get_all(&queued).await?.pop();
        tandem::ensure!(last == Some(QUEUED - 1), "the last of them is {last:?}");
        Ok(())
    })
    .await
}
