//! Many tasks that must not run twice, and an actor that is called all the while: `steady TASKS MILLISECONDS`. Prints how often
//! the actor answered, and `right`.

use std::time::Duration;

use tandem::prelude::*;

/// Counts the tasks that ran.
#[derive(Default)]
struct Counter {
    ran: u64,
}

#[tandem::actor]
impl Counter {
    fn new() -> Self {
        Self::default()
    }

    fn add(&mut self) {
        self.ran += 1;
    }

    fn count(&self) -> u64 {
        self.ran
    }
}

/// Takes its time, once.
#[tandem::task(retries = 0)]
async fn work(ctx: Context, number: u64, ms: u64) -> Result<u64> {
    std::thread::sleep(Duration::from_millis(ms));
    let Some(counter) = Counter::find(&ctx, "counter").await? else { tandem::bail!("there is no counter") };
    counter.add().await?;
    Ok(number)
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (tasks, ms): (u64, u64) = (args.parse(0)?, args.parse(1)?);
    let counter = Counter::spawn(&ctx).named("counter").await?;
    let work: Vec<_> = (0..tasks).map(|number| work::submit(&ctx, number, ms)).collect();
    let mut answers = 0_u64;
    while counter.count().await? < tasks {
        answers += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    let numbers = ctx.get_all(&work).await?;
    println!("{answers} answers");
    println!("{}", if numbers.into_iter().eq(0..tasks) && counter.count().await? == tasks { "right" } else { "wrong" });
    Ok(())
}
