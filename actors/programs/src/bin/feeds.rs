//! Takes items of actors that yield them: `feeds all|killed|early ITEMS [RESOURCE]`. The actors live where one of that resource is.
//! `killed` kills the process of the actor in the middle of a stream, with another one waiting behind it; `early` leaves streams that never
//! end.

use std::cell::Cell;
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

/// Numbers, each of which it yields once in its life.
struct Feed {
    next: Cell<u64>,
}

const WINDOW: u64 = 4;

#[tandem::actor(max_restarts = 100, retry_calls, concurrency_groups(looks = 2))]
impl Feed {
    fn new() -> Self {
        Self { next: Cell::new(0) }
    }

    #[tandem::method(stream, window = 4)]
    async fn items(&self, ctx: Context, count: u64, to: Yield<Item>) -> Result<()> {
        for _ in 0..count {
            let number = self.next.get();
            let (pid, worker) = (std::process::id(), ctx.worker_name().to_owned());
            to.send(&Item { number, pid, worker, filling: vec![7; filling_bytes(number)] }).await?;
            self.next.set(number + 1);
        }
        Ok(())
    }

    /// What the next item would be, now.
    #[tandem::method(group = "looks")]
    async fn look(&self) -> u64 {
        self.next.get()
    }

    /// The same, when the streams before have ended.
    fn next(&self) -> u64 {
        self.next.get()
    }
}

fn filling_bytes(number: u64) -> usize {
    if number.is_multiple_of(3) { 100_000 } else { 10 }
}

async fn spawn(ctx: &Context, resource: Option<&str>) -> Result<FeedHandle> {
    let feed = Feed::spawn(ctx);
    Ok(match resource {
        Some(resource) => feed.resources(cpus(0.1).custom(resource, 0.1)).await?,
        None => feed.await?,
    })
}

/// The next item, which must be this one.
async fn take(items: &mut ObjectStream<Item>, number: u64) -> Result<Item> {
    let Some(item) = items.try_next().await? else { tandem::bail!("it ended before item {number}") };
    let item = item.await?;
    tandem::ensure!(item.number == number, "item {} came in place of {number}", item.number);
    let right = item.filling.iter().all(|byte| *byte == 7);
    tandem::ensure!(right && item.filling.len() == filling_bytes(number), "item {number} is not what was yielded");
    Ok(item)
}

/// Takes all items, and looks beside that how far the actor is.
async fn take_all(feed: &FeedHandle, count: u64) -> Result<String> {
    let mut items = feed.items(count);
    let behind = feed.next();
    let mut worker = String::new();
    for number in 0..count {
        worker = take(&mut items, number).await?.worker;
        let ahead = feed.look().await?.saturating_sub(number + 1);
        tandem::ensure!(ahead <= WINDOW, "{ahead} items were yielded ahead");
    }
    tandem::ensure!(items.try_next().await?.is_none(), "more than {count} items came");
    tandem::ensure!(behind.await? == count, "the call behind the stream did not wait for its end");
    Ok(format!("{count} items of {worker}"))
}

/// Kills the actor when half of the items are taken.
async fn take_killed(feed: &FeedHandle, count: u64) -> Result<String> {
    let (mut items, mut behind) = (feed.items(count), feed.items(count));
    let mut pid = 0;
    for number in 0..count / 2 {
        pid = take(&mut items, number).await?.pid;
    }
    Command::new("kill").args(["-KILL", &pid.to_string()]).status()?;
    // What was yielded by then still comes, and nothing of the next life.
    let mut taken = count / 2;
    let failure = loop {
        match items.next().await {
            Some(Ok(item)) => {
                let item = item.await?;
                tandem::ensure!((item.number, item.pid) == (taken, pid), "{} of {} came", item.number, item.pid);
                taken += 1;
            }
            Some(Err(failure)) => break failure,
            None => tandem::bail!("{taken} items came of {count}, and no failure"),
        }
    };
    tandem::ensure!(taken <= count / 2 + WINDOW, "{taken} items came");
    tandem::ensure!(failure.kind == FailureKind::ActorGone, "{failure}");
    tandem::ensure!(failure.message.contains(&format!("its items end after {taken}")), "{failure}");
    // The one behind it had not begun: it is that of the next life, from its first item.
    for number in 0..count {
        let item = take(&mut behind, number).await?;
        tandem::ensure!(item.pid != pid, "item {number} is of the process that was killed");
    }
    tandem::ensure!(behind.try_next().await?.is_none() && feed.next().await? == count);
    Ok(format!("lost in the middle, then {count} items"))
}

/// Takes a few items of streams that never end. If one did not when it is dropped, the next would not begin.
async fn leave_early(feed: &FeedHandle, count: u64) -> Result<String> {
    let mut next = 0;
    for _ in 0..20 {
        let mut items = feed.items(u64::MAX);
        for number in next..next + count {
            take(&mut items, number).await?;
        }
        drop(items);
        let yielded = feed.next().await? - next;
        tandem::ensure!((count..=count + WINDOW).contains(&yielded), "{yielded} items were yielded of {count}");
        next += yielded;
    }
    Ok(format!("left 20 streams after {count} items"))
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (kind, count): (String, u64) = (args.parse(0)?, args.parse(1)?);
    let resource: Option<String> = if args.len() > 2 { Some(args.parse(2)?) } else { None };
    let feed = spawn(&ctx, resource.as_deref()).await?;
    let told = match kind.as_str() {
        "all" => take_all(&feed, count).await?,
        "killed" => take_killed(&feed, count).await?,
        "early" => leave_early(&feed, count).await?,
        other => tandem::bail!("there is no kind of feed called {other}"),
    };
    println!("{told}");
    Ok(())
}
