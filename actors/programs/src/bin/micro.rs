//! The calls of Ray's microbenchmark, and its limits on one node: `micro [NAME…]`. Prints one JSON object per line: name, calls per
//! second or seconds, and the unit.

use std::time::{Duration, Instant};

use tandem::prelude::*;

/// How long each rate is measured.
const MEASURE: Duration = Duration::from_secs(2);

#[tandem::task]
fn nothing() {}

#[tandem::task]
fn many_args(values: Vec<ObjectRef<u64>>) -> u64 {
    values.len() as u64
}

#[tandem::task]
fn echo(n: u64) -> u64 {
    n
}

/// Answers.
struct Echo;

#[tandem::actor]
impl Echo {
    fn new() -> Self {
        Self
    }

    fn nothing(&mut self) {}
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{}", serde_json::json!({ "name": name, "value": value, "unit": unit }));
}

/// Repeats `calls` calls at once until time is over.
async fn rate<F: AsyncFnMut() -> Result<u64>>(name: &str, mut calls: F) -> Result<()> {
    calls().await?;
    let (start, mut made) = (Instant::now(), 0);
    while start.elapsed() < MEASURE {
        made += calls().await?;
    }
    report(name, made as f64 / start.elapsed().as_secs_f64(), "calls/s");
    Ok(())
}

/// The median of single calls.
async fn latency<F: AsyncFnMut() -> Result<u64>>(name: &str, mut call: F) -> Result<()> {
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < MEASURE {
        let before = Instant::now();
        call().await?;
        took.push(before.elapsed());
    }
    took.sort_unstable();
    let micros = |at: usize| took[at].as_secs_f64() * 1e6;
    report(&format!("{name}, p50"), micros(took.len() / 2), "us");
    report(&format!("{name}, p99"), micros(took.len() * 99 / 100), "us");
    Ok(())
}

async fn tasks(ctx: &Context) -> Result<()> {
    latency("task, submit and get", async || Ok(nothing::submit(ctx).await.map(|()| 1)?)).await?;
    rate("tasks, pipelined", async || {
        let calls: Vec<_> = (0..10_000).map(|_| nothing::submit(ctx)).collect();
        ctx.get_all(&calls).await?;
        Ok(calls.len() as u64)
    })
    .await
}

async fn actors(ctx: &Context) -> Result<()> {
    let actor = Echo::spawn(ctx).await?;
    latency("actor call", async || Ok(actor.nothing().await.map(|()| 1)?)).await?;
    rate("actor calls, pipelined", async || {
        let calls: Vec<_> = (0..10_000).map(|_| actor.nothing()).collect();
        ctx.get_all(&calls).await?;
        Ok(calls.len() as u64)
    })
    .await
}

async fn starts(ctx: &Context) -> Result<()> {
    latency("process actor, ready", async || {
        let actor = Echo::spawn(ctx).await?;
        actor.kill();
        Ok(1)
    })
    .await
}

async fn objects(ctx: &Context) -> Result<()> {
    let large = ctx.put(&Bytes::from(vec![1; 1 << 20]))?;
    latency("get of a local object of 1 MiB", async || Ok(u64::from(large.clone().await?[0]))).await?;
    rate("put of 8 bytes", async || {
        let objects = (0..10_000).map(|n: u64| ctx.put(&n)).collect::<Result<Vec<_>, _>>()?;
        Ok(objects.len() as u64)
    })
    .await?;
    let gigabyte = Bytes::from(vec![1; 1 << 30]);
    let mut target = vec![0_u8; 1 << 30];
    target.copy_from_slice(&gigabyte);
    let start = Instant::now();
    target.copy_from_slice(&gigabyte);
    let copy = start.elapsed();
    drop(target);
    drop(ctx.put(&gigabyte)?);
    let start = Instant::now();
    let object = ctx.put(&gigabyte)?;
    report("put of 1 GiB, of the speed of memcpy", copy.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0, "%");
    drop(object);
    Ok(())
}

async fn limits(ctx: &Context) -> Result<()> {
    let refs = (0..10_000).map(|n: u64| ctx.put(&n)).collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    tandem::ensure!(ctx.get_all(&refs).await?.len() == 10_000, "not all objects came");
    report("get of 10,000 refs", start.elapsed().as_secs_f64(), "s");
    let start = Instant::now();
    tandem::ensure!(many_args::submit(ctx, refs).await? == 10_000, "not all arguments came");
    report("task with 10,000 refs", start.elapsed().as_secs_f64(), "s");
    let start = Instant::now();
    let queued: Vec<_> = (0..1_000_000).map(|n| echo::submit(ctx, n)).collect();
    let last = ctx.get_all(&queued).await?.pop();
    tandem::ensure!(last == Some(999_999), "the last of a million is {last:?}");
    report("1 M queued tasks", start.elapsed().as_secs_f64(), "s");
    Ok(())
}

async fn groups(ctx: &Context) -> Result<()> {
    rate("placement group create and remove", async || {
        let groups: Vec<_> = (0..100).map(|_| ctx.placement_group([cpus(0.001)], Strategy::Pack).start()).collect();
        let reserved: Vec<_> = groups.iter().map(PlacementGroup::reserved).collect();
        ctx.get_all(&reserved).await?;
        groups.iter().for_each(PlacementGroup::remove);
        Ok(groups.len() as u64)
    })
    .await
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    if wanted("tasks") {
        tasks(&ctx).await?;
    }
    if wanted("actors") {
        actors(&ctx).await?;
    }
    if wanted("starts") {
        starts(&ctx).await?;
    }
    if wanted("groups") {
        groups(&ctx).await?;
    }
    if wanted("objects") {
        objects(&ctx).await?;
    }
    if wanted("limits") {
        limits(&ctx).await?;
    }
    Ok(())
}
