//! Something of each kind to look at, until a file is there: `shown FILE`.

use std::path::PathBuf;
use std::time::Duration;

use tandem::prelude::*;

struct Counter {
    count: u64,
}

#[tandem::actor]
impl Counter {
    fn new() -> Self {
        Self { count: 0 }
    }

    async fn add(&mut self, more: u64) -> u64 {
        self.count += more;
        self.count
    }
}

/// Quick.
#[tandem::task]
fn square(number: u64) -> u64 {
    number * number
}

/// Never works, and is tried twice.
#[tandem::task(retries = 1)]
fn breaks() -> Result<u64> {
    tandem::bail!("this one never works")
}

/// Runs until the file is there.
#[tandem::task]
fn hold(file: PathBuf) -> u64 {
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    7
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let file: PathBuf = args.parse(0)?;
    let squares: Vec<_> = (0..12).map(|number| square::submit(&ctx, number)).collect();
    ctx.get_all(&squares).await?;
    let broken = breaks::with(&ctx).retry(Retry::OnAnyError).submit();
    if let Ok(value) = (&broken).await {
        tandem::bail!("it worked: {value}");
    }
    let counter = Counter::spawn(&ctx).named("hits").await?;
    for _ in 0..3 {
        counter.add(2).await?;
    }
    let large = ctx.put(&vec![1_u8; 1 << 20])?;
    let held = hold::submit(&ctx, file);
    let after = square::submit(&ctx, &held);
    println!("{}", after.await?);
    drop(large);
    Ok(())
}
