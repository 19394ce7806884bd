//! Takes items of tasks that yield them: `streams all|killed|early ITEMS [RESOURCE]`. The tasks run where one of that resource is.
//! `killed` kills the processes that yield, in the middle; `early` takes a few items of tasks that never end.

use std::collections::BTreeSet;
use std::process::Command;

use tandem::prelude::*;

/// One item, and who yielded it.
#[derive(Debug, Serialize, Deserialize)]
struct Item {
    number: u64,
    pid: u32,
    worker: String,
    /// Some are more than goes into a message.
    filling: Vec<u8>,
}

/// Counts what was yielded, over all attempts.
#[derive(Default)]
struct Count {
    highest: u64,
    yields: u64,
}

#[tandem::actor]
impl Count {
    fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, number: u64) {
        self.highest = self.highest.max(number);
        self.yields += 1;
    }

    fn highest(&self) -> u64 {
        self.highest
    }

    fn yields(&self) -> u64 {
        self.yields
    }
}

const WINDOW: u32 = 4;

fn filling_bytes(number: u64) -> usize {
    if number.is_multiple_of(3) { 100_000 } else { 10 }
}

#[tandem::task(stream, retries = 1000)]
async fn items(ctx: Context, count: u64, counter: CountHandle, to: Yield<Item>) -> Result<()> {
    for number in 0..count {
        let filling = vec![7; filling_bytes(number)];
        let item = Item { number, pid: std::process::id(), worker: ctx.worker_name().to_owned(), filling };
        to.send(&item).await?;
        counter.add(number + 1).await?;
    }
    Ok(())
}

fn submit(ctx: &Context, count: u64, counter: &CountHandle, resource: Option<&str>) -> ObjectStream<Item> {
    let call = items::with(ctx).window(WINDOW);
    let call = match resource {
        Some(resource) => call.resources(cpus(0.1).custom(resource, 0.1)),
        None => call,
    };
    call.submit(count, counter.clone())
}

/// Takes all items, and kills the process of every one of which the number is a multiple of `kill_every`.
async fn take_all(ctx: &Context, count: u64, kill_every: Option<u64>, resource: Option<&str>) -> Result<()> {
    let counter = Count::spawn(ctx).await?;
    let mut items = submit(ctx, count, &counter, resource);
    let (mut taken, mut pids, mut workers) = (0, BTreeSet::new(), BTreeSet::new());
    while let Some(item) = items.try_next().await? {
        let item = item.await?;
        tandem::ensure!(item.number == taken, "item {} came as number {taken}", item.number);
        let right = item.filling.iter().all(|byte| *byte == 7);
        tandem::ensure!(right && item.filling.len() == filling_bytes(taken), "item {taken} is not what was yielded");
        taken += 1;
        let ahead = counter.highest().await?.saturating_sub(taken);
        tandem::ensure!(ahead <= u64::from(WINDOW), "{ahead} items were yielded ahead");
        if kill_every.is_some_and(|every| item.number % every == every - 1) {
            // It may be gone already.
            Command::new("kill").args(["-KILL", &item.pid.to_string()]).status()?;
        }
        pids.insert(item.pid);
        workers.insert(item.worker);
    }
    tandem::ensure!(taken == count, "{taken} items came of {count}");
    tandem::ensure!(kill_every.is_none() || pids.len() > 1, "no process was killed in time");
    let workers: Vec<_> = workers.into_iter().collect();
    println!("{taken} items of {}", workers.join(", "));
    Ok(())
}

/// Takes a few items of many tasks that never end. If they did not when their streams are dropped, the last ones would find no place.
async fn leave_early(ctx: &Context, count: u64, resource: Option<&str>) -> Result<()> {
    let counter = Count::spawn(ctx).await?;
    for _ in 0..20 {
        let mut items = submit(ctx, u64::MAX, &counter, resource);
        for number in 0..count {
            let Some(item) = items.try_next().await? else { tandem::bail!("it ended") };
            tandem::ensure!(item.await?.number == number);
        }
    }
    let most = 20 * (count + u64::from(WINDOW));
    let yields = counter.yields().await?;
    tandem::ensure!(yields <= most, "{yields} items were yielded, {most} at most were wanted");
    println!("left {count} items of 20 tasks");
    Ok(())
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (kind, count): (String, u64) = (args.parse(0)?, args.parse(1)?);
    let resource: Option<String> = if args.len() > 2 { Some(args.parse(2)?) } else { None };
    match kind.as_str() {
        "all" => take_all(&ctx, count, None, resource.as_deref()).await,
        "killed" => take_all(&ctx, count, Some(10), resource.as_deref()).await,
        "early" => leave_early(&ctx, count, resource.as_deref()).await,
        other => tandem::bail!("there is no kind of stream called {other}"),
    }
}
