//! Pools of actors.

use std::collections::BTreeSet;
use std::pin::pin;
use std::task::{Context as Polling, Poll, Waker};

use tandem::prelude::*;
use tokio::sync::watch;

/// Multiplies.
pub(crate) struct Scale {
    factor: u64,
    held: watch::Sender<u32>,
    opened: watch::Sender<bool>,
}

#[tandem::actor(concurrency = 8)]
impl Scale {
    /// The factor is how many bytes there are.
    fn new(bytes: Vec<u8>) -> Self {
        Self { factor: bytes.len() as u64, held: watch::Sender::new(0), opened: watch::Sender::new(false) }
    }

    fn times(&self, n: u64) -> Result<u64> {
        tandem::ensure!(n != 7, "no {n}");
        Ok(n * self.factor)
    }

    /// Does it once it is opened.
    async fn times_later(&self, n: u64) -> Result<u64> {
        self.held.send_modify(|held| *held += 1);
        self.opened.subscribe().wait_for(|opened| *opened).await?;
        Ok(n * self.factor)
    }

    /// Waits until it has so many calls that wait.
    async fn holds(&self, calls: u32) -> Result<u32> {
        Ok(*self.held.subscribe().wait_for(|held| *held >= calls).await?)
    }

    fn open(&self) {
        self.opened.send_replace(true);
    }
}

const FACTOR: u64 = 200_000;

pub(super) async fn share(ctx: &Context) -> Result<()> {
    // The bytes are too many for a message.
    let bytes = vec![b'x'; FACTOR as usize];
    let pool: ActorPool<ScaleHandle> = Scale::spawn(ctx, bytes).named("scale").pool(2).calls_per_actor(2).await?;
    tandem::ensure!(Scale::find(ctx, "scale-1").await?.is_some(), "each has a name");
    hold_back(ctx, &pool).await?;
    in_order_and_as_they_come(&pool).await?;
    let failure = pool.map([1, 7], ScaleHandle::times).collect().await.expect_err("one fails");
    tandem::ensure!(failure.message == "no 7", "{failure}");
    tandem::ensure!(pool.call(|scale| scale.times(3_u64)).await? == 3 * FACTOR, "it goes on");
    pool.end();
    Ok(())
}

/// Calls that cannot end take all the room that there is, the same at each actor.
async fn hold_back(ctx: &Context, pool: &ActorPool<ScaleHandle>) -> Result<()> {
    let mut held = Vec::new();
    for n in 0..4_u64 {
        held.push(pool.submit(|scale| scale.times_later(n)).await?);
    }
    for scale in pool.actors() {
        tandem::ensure!(scale.holds(2_u32).await? == 2, "half of the calls");
    }
    let mut later = pin!(pool.submit(|scale| scale.times(4_u64)));
    let polled = later.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
    tandem::ensure!(matches!(polled, Poll::Pending), "there is no room");
    pool.actors()[1].open();
    tandem::ensure!(later.await?.await? == 4 * FACTOR, "there is room again");
    pool.actors()[0].open();
    tandem::ensure!(ctx.get_all(&held).await? == [0, 1, 2, 3].map(|n| n * FACTOR), "what was held");
    Ok(())
}

async fn in_order_and_as_they_come(pool: &ActorPool<ScaleHandle>) -> Result<()> {
    let all = pool.map(10..110, ScaleHandle::times).collect().await?;
    tandem::ensure!(all == (10..110).map(|n| n * FACTOR).collect::<Vec<_>>(), "{all:?}");
    let mut in_order = pool.map(0..20, ScaleHandle::times);
    for n in 0..20 {
        match in_order.next().await {
            Some(Ok(value)) => tandem::ensure!(value == n * FACTOR, "{value} for {n}"),
            Some(Err(failure)) => tandem::ensure!(n == 7 && failure.message == "no 7", "{failure} for {n}"),
            None => tandem::bail!("{n} is missing"),
        }
    }
    tandem::ensure!(in_order.next().await.is_none(), "one too many");
    let mut as_completed = pool.map(0..20, ScaleHandle::times).as_completed();
    let mut seen = BTreeSet::new();
    while let Some((index, value)) = as_completed.next().await {
        tandem::ensure!(value.is_err() == (index == 7), "{value:?} for {index}");
        seen.insert(index);
    }
    tandem::ensure!(seen == (0..20).collect(), "{seen:?}");
    Ok(())
}

/// Ends its process when it is told to.
pub(crate) struct Fragile;

#[tandem::actor]
impl Fragile {
    fn new() -> Self {
        Self
    }

    /// Ends its process at 13, unless there is the file, which it makes.
    fn echo(&self, n: u64, once: String) -> u64 {
        if n == 13 && (once.is_empty() || std::fs::File::create_new(once).is_ok()) {
            std::process::abort();
        }
        n
    }
}

const FATAL: u64 = 13;

/// Those of a pool that are still there.
async fn count_there(pool: &ActorPool<FragileHandle>) -> usize {
    let mut there = 0;
    for fragile in pool.actors() {
        there += usize::from(fragile.echo(0_u64, "").await.is_ok());
    }
    there
}

pub(super) async fn lose(ctx: &Context) -> Result<()> {
    let folder = std::env::temp_dir();
    let file = |name: &str| folder.join(name).display().to_string();
    retried(ctx, file("retried")).await?;
    reported(ctx, file("reported")).await?;
    started_again(ctx, file("started again")).await?;
    all_gone(ctx).await?;
    poisonous(ctx).await?;
    killed(ctx).await
}

/// The calls that an actor had are made by the others, which do its share from then on.
async fn retried(ctx: &Context, once: String) -> Result<()> {
    let pool = Fragile::spawn(ctx).retry_calls().pool(3).await?;
    for _ in 0..2 {
        let all = pool.map(0..100, |fragile, n| fragile.echo(n, once.clone())).collect().await?;
        tandem::ensure!(all == (0..100).collect::<Vec<_>>(), "{all:?}");
        tandem::ensure!(count_there(&pool).await == 2, "one is gone");
    }
    pool.end();
    Ok(())
}

/// Without retries the calls that it had fail, and no others.
async fn reported(ctx: &Context, once: String) -> Result<()> {
    let pool = Fragile::spawn(ctx).pool(3).calls_per_actor(2).await?;
    let mut results = pool.map(0..100, |fragile, n| fragile.echo(n, once.clone()));
    let mut failed = Vec::new();
    for n in 0..100 {
        match results.next().await {
            Some(Ok(value)) => tandem::ensure!(value == n, "{value} for {n}"),
            Some(Err(failure)) if failure.kind == FailureKind::ActorGone => failed.push(n),
            other => tandem::bail!("{other:?} for {n}"),
        }
    }
    tandem::ensure!(failed.contains(&FATAL) && failed.len() <= 2, "{failed:?}");
    tandem::ensure!(count_there(&pool).await == 2, "one is gone");
    pool.end();
    Ok(())
}

/// An actor that is started again takes calls again.
async fn started_again(ctx: &Context, once: String) -> Result<()> {
    let pool = Fragile::spawn(ctx).max_restarts(1).pool(1).await?;
    let failure = pool.call(|fragile| fragile.echo(FATAL, once.clone())).await.expect_err("it is lost");
    tandem::ensure!(failure.kind == FailureKind::ActorGone, "{failure}");
    for n in 0..20 {
        tandem::ensure!(pool.call(|fragile| fragile.echo(n, once.clone())).await? == n, "it is there again");
    }
    pool.end();
    Ok(())
}

async fn all_gone(ctx: &Context) -> Result<()> {
    let pool = Fragile::spawn(ctx).pool(1).await?;
    pool.call(|fragile| fragile.echo(FATAL, "")).await.expect_err("it is lost");
    for _ in 0..3 {
        let failure = pool.call(|fragile| fragile.echo(1_u64, "")).await.expect_err("nobody is left");
        let told = "all 1 actors of the pool are gone";
        tandem::ensure!(failure.kind == FailureKind::ActorGone && failure.message == told, "{failure}");
    }
    let failure = pool.submit(|fragile| fragile.echo(1_u64, "")).await.expect_err("nobody is left");
    tandem::ensure!(failure.kind == FailureKind::ActorGone, "{failure}");
    Ok(())
}

/// A call that ends every process that it gets to is not made everywhere.
async fn poisonous(ctx: &Context) -> Result<()> {
    let pool = Fragile::spawn(ctx).retry_calls().pool(4).await?;
    pool.call(|fragile| fragile.echo(FATAL, "")).await.expect_err("it always ends its process");
    tandem::ensure!(count_there(&pool).await == 1, "three were lost by it");
    tandem::ensure!(pool.call(|fragile| fragile.echo(5_u64, "")).await? == 5, "the last one");
    pool.kill();
    Ok(())
}

/// One that was ended takes no calls, and a pool whose actors cannot start does not either.
async fn killed(ctx: &Context) -> Result<()> {
    let pool = Fragile::spawn(ctx).retry_calls().pool(2).await?;
    pool.actors()[0].kill();
    let all = pool.map(20..60, |fragile, n| fragile.echo(n, "")).collect().await?;
    tandem::ensure!(all == (20..60).collect::<Vec<_>>(), "{all:?}");
    pool.end();
    let failure = super::Counter::spawn(ctx, 1000).named("counter").pool(2).await.expect_err("they cannot start");
    tandem::ensure!(failure.message == "a counter starts below 1000", "{failure}");
    let pool = super::Counter::spawn(ctx, 1000).pool(2).start();
    let failure = pool.call(|counter| counter.add(1_u64)).await.expect_err("it has not started");
    tandem::ensure!(failure.message == "a counter starts below 1000", "{failure}");
    let found = super::Counter::get_or_create(ctx, "shared", 1).pool(2).await?;
    let again = super::Counter::get_or_create(ctx, "shared", 2).pool(2).await?;
    let ids = |pool: &ActorPool<super::CounterHandle>| pool.actors().iter().map(ActorHandle::id).collect::<Vec<_>>();
    tandem::ensure!(ids(&found) == ids(&again), "the same ones");
    found.end();
    Ok(())
}
