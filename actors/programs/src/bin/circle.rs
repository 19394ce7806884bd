//! Actors of all workers that ask each other, one after the other: `circle`. Prints on how many workers they are, what becomes of a row
//! that comes back to the first of them while it waits, and the answers of one that does not before and after that.

use std::collections::BTreeMap;

use tandem::prelude::*;

/// So many that some are on each worker.
const ACTORS: usize = 12;

/// Asks others, which may ask it back.
struct Asker;

#[tandem::actor]
impl Asker {
    fn new() -> Self {
        Self
    }

    fn place(&self, ctx: Context) -> String {
        ctx.worker_name().to_owned()
    }

    async fn ask(&mut self, others: Vec<AskerHandle>) -> Result<usize> {
        let Some((next, others)) = others.split_first() else { return Ok(1) };
        Ok(next.ask(others.to_vec()).await? + 1)
    }
}

/// Has the first one of a row ask the others. It waits for a circle, and is no part of it.
#[tandem::task]
async fn ask_row(row: Vec<AskerHandle>) -> Result<usize> {
    let Some((first, others)) = row.split_first() else { return Ok(0) };
    Ok(first.ask(others.to_vec()).await?)
}

/// What it all began with, in one line.
fn root(failure: &Failure) -> String {
    let mut root = failure;
    while let Some(cause) = &root.cause {
        root = cause;
    }
    format!("{:?}: {}", root.kind, root.message)
}

#[tandem::main]
async fn main(ctx: Context) -> Result<()> {
    let mut by_worker = BTreeMap::new();
    for _ in 0..ACTORS {
        let asker = Asker::spawn(&ctx).await?;
        by_worker.insert(asker.place().await?, asker);
    }
    println!("{} workers", by_worker.len());
    let row: Vec<AskerHandle> = by_worker.into_values().collect();
    let back: Vec<AskerHandle> = row.iter().chain(row.first()).cloned().collect();
    println!("{} answer", ask_row::submit(&ctx, row.clone()).await?);
    for _ in 0..2 {
        let failure = ask_row::submit(&ctx, back.clone()).await.expect_err("they wait for each other");
        println!("{}", root(&failure));
    }
    println!("{} answer", ask_row::submit(&ctx, row).await?);
    Ok(())
}
