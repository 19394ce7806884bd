//! Objects: small ones, large ones, and refs to them.

use std::hint::black_box;
use std::time::Instant;

use tandem::prelude::*;

use crate::measure::{latency, rate, report};
use crate::tasks;

const GIBIBYTE: usize = 1 << 30;

/// Names as many objects.
#[tandem::task]
fn name_many(ctx: Context, count: u64) -> Result<Vec<ObjectRef<u64>>> {
    Ok((0..count).map(|_| ctx.put(&1)).collect::<Result<_, _>>()?)
}

/// Also for a program outside of the cluster.
pub(crate) async fn small(ctx: &Context) -> Result<()> {
    let zero = ctx.put(&0_u64)?;
    latency("get of a small object", async || Ok(zero.clone().await.map(drop)?)).await?;
    rate("put of 8 bytes", async || {
        let objects = (0..1_000).map(|n: u64| ctx.put(&n)).collect::<Result<Vec<_>, _>>()?;
        Ok(objects.len() as u64)
    })
    .await
}

pub(crate) async fn large(ctx: &Context) -> Result<()> {
    let object = ctx.put(&Bytes::from(vec![1; 1 << 20]))?;
    latency("get of a local object of 1 MiB", async || Ok(object.clone().await.map(drop)?)).await?;
    let gibibyte = Bytes::from(vec![1; GIBIBYTE]);
    let mut target = vec![0_u8; GIBIBYTE];
    target.copy_from_slice(&gibibyte);
    let start = Instant::now();
    target.copy_from_slice(black_box(&gibibyte));
    black_box(&target);
    let copied = start.elapsed().as_secs_f64();
    drop(target);
    // The first ones get new memory from the system, which costs several times as much.
    let mut put = 0.0;
    for _ in 0..4 {
        let start = Instant::now();
        drop(ctx.put(&gibibyte)?);
        put = start.elapsed().as_secs_f64();
    }
    report("put of 1 GiB", GIBIBYTE as f64 / put / 1e6, "MB/s");
    report("put of 1 GiB, of the speed of memcpy", copied / put * 100.0, "%");
    Ok(())
}

pub(crate) async fn refs(ctx: &Context) -> Result<()> {
    let names = name_many::submit(ctx, 10_000);
    rate("get of an object with 10,000 refs", async || {
        tandem::ensure!(names.clone().await?.len() == 10_000, "not all refs came");
        Ok(1)
    })
    .await?;
    // One is taken off at a time, as there.
    rate("wait for 1,000 tasks, one by one", async || {
        let mut left: Vec<_> = (0..1_000).map(|_| tasks::nothing::submit(ctx)).collect();
        while !left.is_empty() {
            let Waited { ready, pending } = ctx.wait(&left, 1, None).await;
            left = ready.into_iter().skip(1).chain(pending).collect();
        }
        Ok(1)
    })
    .await
}
