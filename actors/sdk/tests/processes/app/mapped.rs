//! Tables that are made of tables.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as Polling, Poll, Waker};

use tandem::arrow::RecordBatch;
use tandem::arrow::array::Int64Array;
use tandem::prelude::*;

/// The first column, doubled.
fn double(rows: &Batches) -> Result<Batches> {
    let mut doubled = Vec::new();
    for batch in rows {
        let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>();
        let numbers = numbers.ok_or_else(|| tandem::anyhow::anyhow!("no numbers"))?;
        let numbers = Int64Array::from_iter_values(numbers.values().iter().map(|n| n * 2));
        doubled.push(RecordBatch::try_from_iter([("doubled", Arc::new(numbers) as _)])?);
    }
    let first = doubled.first().ok_or_else(|| tandem::anyhow::anyhow!("there is always a batch"))?;
    Ok(Batches::try_new(first.schema(), doubled)?)
}

#[tandem::task]
pub(crate) fn doubled(rows: Batches) -> Result<Batches> {
    double(&rows)
}

/// Without rows it fails, with any it never ends.
#[tandem::task]
pub(crate) async fn fails_or_waits(rows: Batches) -> Result<Batches> {
    tandem::ensure!(rows.num_rows() > 0, "this part is bad");
    std::future::pending().await
}

pub(crate) struct Doubler;

#[tandem::actor]
impl Doubler {
    fn new() -> Self {
        Self
    }

    fn double(&self, rows: Batches) -> Result<Batches> {
        double(&rows)
    }

    async fn fail_or_wait(&self, rows: Batches) -> Result<Batches> {
        fails_or_waits(rows).await
    }
}

/// A part of each of these sizes; the last one is not sent in a message.
const SIZES: [i64; 5] = [3, 0, 20, 1, 50_000];

fn table(ctx: &Context, sizes: &[i64]) -> Table {
    sizes.iter().map(|rows| super::table::submit(ctx, *rows)).collect()
}

/// The values of the first column, by parts.
async fn values(ctx: &Context, table: &Table) -> Result<Vec<Vec<i64>>> {
    let mut values = Vec::new();
    for part in ctx.get_all(table.parts()).await? {
        let columns = part.iter().map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>());
        let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(|| tandem::anyhow::anyhow!("no numbers"))?;
        values.push(columns.iter().flat_map(|column| column.values().iter().copied()).collect());
    }
    Ok(values)
}

pub(super) async fn map(ctx: &Context) -> Result<()> {
    let numbers = table(ctx, &SIZES);
    let times =
        |factor: i64| SIZES.iter().map(|rows| (0..*rows).map(|n| n * factor).collect()).collect::<Vec<Vec<i64>>>();
    let made = numbers.map_batches(ctx, doubled::submit).await?;
    tandem::ensure!(values(ctx, &made).await? == times(2), "each part in its place");
    let again = made.map_batches(ctx, |ctx, rows| doubled::with(ctx).name("again").submit(rows)).at_once(1).await?;
    tandem::ensure!(values(ctx, &again).await? == times(4), "what was made can be mapped");
    let made = numbers.with_actors(Doubler::spawn(ctx).pool(2)).map_batches(DoublerHandle::double).await?;
    tandem::ensure!(values(ctx, &made).await? == times(2), "actors make the same");
    let pool = Doubler::spawn(ctx).pool(2).await?;
    let again = pool.map_batches(&made, DoublerHandle::double).await?;
    tandem::ensure!(values(ctx, &again).await? == times(4), "and go on");
    pool.end();
    without_rows(ctx).await?;
    hold_back(ctx, &numbers).await?;
    fail(ctx).await
}

async fn without_rows(ctx: &Context) -> Result<()> {
    let empty = table(ctx, &[0]).map_batches(ctx, doubled::submit).await?.rows(ctx).await?;
    let names: Vec<_> = empty.schema().fields().iter().map(|field| field.name().clone()).collect();
    tandem::ensure!(empty.num_rows() == 0 && names == ["doubled"], "the columns are known: {names:?}");
    let none = table(ctx, &[]);
    tandem::ensure!(none.map_batches(ctx, doubled::submit).await?.parts().is_empty(), "no parts of no parts");
    let on_actors = none.with_actors(Doubler::spawn(ctx).pool(1)).map_batches(DoublerHandle::double).await?;
    tandem::ensure!(on_actors.parts().is_empty(), "no parts of no parts");
    Ok(())
}

/// Only so many are submitted as may be under way.
async fn hold_back(ctx: &Context, numbers: &Table) -> Result<()> {
    let submitted = AtomicUsize::new(0);
    let task = |ctx: &Context, rows| {
        submitted.fetch_add(1, Ordering::Relaxed);
        doubled::submit(ctx, rows)
    };
    let mut mapping = pin!(numbers.map_batches(ctx, task).at_once(2).into_future());
    let polled = mapping.as_mut().poll(&mut Polling::from_waker(Waker::noop()));
    tandem::ensure!(matches!(polled, Poll::Pending), "nothing has ended yet");
    tandem::ensure!(submitted.load(Ordering::Relaxed) == 2, "{submitted:?} were submitted at once");
    mapping.await?;
    tandem::ensure!(submitted.load(Ordering::Relaxed) == SIZES.len(), "{submitted:?} were submitted in all");
    Ok(())
}

/// One bad part is the end of all, of those that would never end too.
async fn fail(ctx: &Context) -> Result<()> {
    let numbers = table(ctx, &[0, 5, 5, 5, 5]);
    // All of them run at once.
    let small = |ctx: &Context, rows| fails_or_waits::with(ctx).resources(cpus(0.1)).submit(rows);
    let failure = numbers.map_batches(ctx, small).await.expect_err("a part is bad");
    tandem::ensure!(failure.message == "this part is bad" && failure.task == fails_or_waits::NAME, "{failure}");
    tandem::ensure!(super::add::with(ctx).resources(cpus(2.0)).submit(1, 2).await? == 3, "nothing else runs any more");
    let actors = Doubler::spawn(ctx).pool(2).calls_per_actor(3);
    let on_actors = numbers.with_actors(actors).map_batches(DoublerHandle::fail_or_wait);
    let failure = on_actors.await.expect_err("a part is bad");
    tandem::ensure!(failure.message == "this part is bad" && failure.task == "fail_or_wait", "{failure}");
    Ok(())
}
