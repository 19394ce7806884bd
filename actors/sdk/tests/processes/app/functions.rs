//! Tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use tandem::arrow::RecordBatch;
use tandem::arrow::array::{Int64Array, StringArray};
use tandem::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Circle {
    pub(crate) r: f64,
}

#[tandem::task(retries = 3)]
pub(crate) async fn area(c: Circle) -> Result<f64> {
    tandem::ensure!(c.r >= 0.0, "a circle has no radius of {}", c.r);
    Ok(c.r * c.r * std::f64::consts::PI)
}

#[tandem::task]
pub(crate) fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[tandem::task(returns = 2)]
pub(crate) fn divide(a: u64, b: u64) -> Result<(u64, u64)> {
    let quotient = a.checked_div(b).ok_or_else(|| tandem::anyhow::anyhow!("nothing to divide by"))?;
    Ok((quotient, a - quotient * b))
}

#[tandem::task]
pub(crate) fn fail_with_causes() -> Result<()> {
    use tandem::anyhow::Context as _;
    "x".parse::<u32>().context("the port is wrong").context("no server")?;
    Ok(())
}

#[tandem::task]
pub(crate) fn panics(text: String) {
    panic!("{text}");
}

#[tandem::task]
pub(crate) async fn wait_for_ever() {
    std::future::pending::<()>().await;
}

#[tandem::task]
pub(crate) fn spin_until_cancelled(ctx: Context) -> bool {
    while !ctx.is_cancelled() {
        std::thread::yield_now();
    }
    true
}

#[tandem::task]
pub(crate) fn spin_for_ever() {
    loop {
        std::thread::yield_now();
    }
}

#[tandem::task]
pub(crate) async fn sum(ctx: &Context, numbers: Vec<ObjectRef<u64>>) -> Result<u64> {
    Ok(ctx.get_all(&numbers).await?.iter().sum())
}

#[tandem::task]
pub(crate) fn sum_plain(ctx: Context, numbers: Vec<ObjectRef<u64>>) -> Result<u64> {
    Ok(ctx.block_on(ctx.get_all(&numbers))?.iter().sum())
}

/// Holds up the thread that others of its kind leave alone while they wait.
#[tandem::task]
pub(crate) async fn sum_within(ctx: Context, numbers: Vec<ObjectRef<u64>>) -> Result<u64> {
    let sum = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<u64, tandem::Failure>(ctx.get_all(&numbers).await?.iter().sum())
    };
    Ok(ctx.block_on(sum)?)
}

/// Waits for each on a thread of its own.
#[tandem::task]
pub(crate) fn sum_on_threads(ctx: Context, numbers: Vec<ObjectRef<u64>>) -> Result<u64> {
    std::thread::scope(|scope| {
        let ctx = &ctx;
        let threads: Vec<_> = numbers.iter().map(|number| scope.spawn(move || ctx.block_on(ctx.get(number)))).collect();
        let mut sum = 0;
        for thread in threads {
            sum += thread.join().expect("a thread that does not panic")?;
        }
        Ok(sum)
    })
}

/// Gives up before long.
#[tandem::task]
pub(crate) async fn sum_in_time(ctx: &Context, numbers: Vec<ObjectRef<u64>>) -> Result<u64> {
    Ok(tokio::time::timeout(Duration::from_millis(1_500), ctx.get_all(&numbers)).await??.iter().sum())
}

#[tandem::task(stream)]
pub(crate) async fn numbers(count: u64, to: Yield<u64>) -> Result<()> {
    for number in 0..count {
        to.send(&number).await?;
    }
    Ok(())
}

/// Not async, and fails when it has yielded all.
#[tandem::task(stream, window = 1)]
pub(crate) fn texts_of(ctx: Context, lengths: Vec<usize>, to: Yield<String>) -> Result<()> {
    for length in lengths {
        ctx.block_on(to.send(&"x".repeat(length)))?;
    }
    tandem::bail!("no more texts")
}

/// Takes the items of a task that waits for it, and passes them on.
#[tandem::task]
pub(crate) async fn sum_items(ctx: Context, count: u64) -> Result<u64> {
    let mut sum = add::submit(&ctx, 0_u64, 0_u64);
    let mut numbers = numbers::with(&ctx).window(2).submit(count);
    while let Some(number) = numbers.try_next().await? {
        sum = add::submit(&ctx, &sum, &number);
    }
    Ok(sum.await?)
}

#[tandem::task]
pub(crate) async fn fibonacci(ctx: Context, n: u64) -> Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let (a, b) = (fibonacci::submit(&ctx, n - 1), fibonacci::submit(&ctx, n - 2));
    Ok(a.await? + b.await?)
}

#[tandem::task]
pub(crate) fn length(bytes: Bytes) -> usize {
    bytes.len()
}

#[tandem::task]
pub(crate) fn letters(count: usize) -> Vec<u8> {
    vec![b'x'; count]
}

#[tandem::task]
pub(crate) fn counts(words: Vec<String>) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    words.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

#[tandem::task]
pub(crate) fn table(rows: i64) -> Result<Batches> {
    let numbers = Int64Array::from_iter_values(0..rows);
    let texts = StringArray::from_iter_values((0..rows).map(|row| format!("row {row}")));
    Ok(RecordBatch::try_from_iter([("n", std::sync::Arc::new(numbers) as _), ("t", std::sync::Arc::new(texts) as _)])?
        .into())
}

/// The sum of the first column; makes sure that a large one is read where it was built, which is aligned.
#[tandem::task]
pub(crate) fn sum_column(table: Batches) -> Result<i64> {
    let mut sum = 0;
    for batch in &table {
        let numbers = batch.column(0).as_any().downcast_ref::<Int64Array>();
        let numbers = numbers.ok_or_else(|| tandem::anyhow::anyhow!("no numbers"))?;
        // A small table comes in a message.
        let aligned = numbers.values().as_ptr().addr().is_multiple_of(64);
        tandem::ensure!(aligned || table.num_rows() < 1000, "it is not aligned");
        sum += numbers.values().iter().sum::<i64>();
    }
    Ok(sum)
}

#[tandem::task(retries = 1)]
pub(crate) fn aborts() {
    std::process::abort();
}

#[tandem::task]
pub(crate) fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}
