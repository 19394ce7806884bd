//! A load whose right answer is known: `mixed ROUNDS [SLOW_MS]`. Tasks with refs, nested tasks, a named actor that counts with checkpoints, and
//! large objects. Prints `right` at its end, or says what is wrong and fails.

use std::time::Duration;

use tandem::prelude::*;

/// Numbers from 0, as bytes that do not fit into a message.
#[tandem::task]
fn numbers(count: u64) -> Bytes {
    (0..count).flat_map(u64::to_le_bytes).collect::<Vec<u8>>().into()
}

/// Their sum.
#[tandem::task]
fn sum(numbers: Bytes) -> u64 {
    let (words, _) = numbers.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).sum()
}

/// Fibonacci numbers the slow way.
#[tandem::task]
async fn fib(ctx: Context, n: u64) -> Result<u64> {
    if n < 2 {
        return Ok(n);
    }
    let (a, b) = (fib::submit(&ctx, n - 1), fib::submit(&ctx, n - 2));
    Ok(a.await? + b.await?)
}

/// Takes its time.
#[tandem::task]
fn slow(n: u64, ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    n
}

/// Counts each number once.
struct Tally {
    sum: u64,
    calls: u64,
}

#[tandem::actor(max_restarts = 1000, retry_calls)]
impl Tally {
    fn new() -> Self {
        Self { sum: 0, calls: 0 }
    }

    fn add(&mut self, n: u64) -> u64 {
        self.sum += n;
        self.calls += 1;
        self.sum
    }

    fn total(&self) -> (u64, u64) {
        (self.sum, self.calls)
    }

    fn checkpoint(&self) -> Vec<u8> {
        [self.sum.to_le_bytes(), self.calls.to_le_bytes()].concat()
    }

    fn restore(state: Vec<u8>) -> Self {
        let word = |at: usize| state[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        Self { sum: word(0), calls: word(8) }
    }
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let rounds: u64 = args.parse(0)?;
    let ms: u64 = if args.len() > 1 { args.parse(1)? } else { 0 };
    let spawned = Tally::spawn(&ctx).named("tally").await?;
    let mut expected = 0;
    for round in 0..rounds {
        let tally = Tally::find(&ctx, "tally").await?;
        let tally = tally.ok_or_else(|| tandem::anyhow::anyhow!("round {round}: nobody has the name"))?;
        tandem::ensure!(tally.id() == spawned.id(), "round {round}: the name is another's");
        let count = 20_000 + round;
        let large = numbers::submit(&ctx, count);
        let sums: Vec<_> = (0..4).map(|_| sum::submit(&ctx, &large)).collect();
        let slow: Vec<_> = (0..8).map(|n| slow::submit(&ctx, n, ms)).collect();
        let fib = fib::submit(&ctx, 7_u64);
        let adds: Vec<_> = (0..50).map(|n| tally.add(round + n)).collect();
        expected += (0..50).map(|n| round + n).sum::<u64>();
        for value in ctx.get_all(&sums).await? {
            tandem::ensure!(value == count * (count - 1) / 2, "round {round}: the sum is {value}");
        }
        let slow = ctx.get_all(&slow).await?;
        tandem::ensure!(slow == (0..8).collect::<Vec<_>>(), "round {round}: slow tasks gave {slow:?}");
        tandem::ensure!(fib.await? == 13, "round {round}: wrong fibonacci number");
        let last = ctx.get_all(&adds).await?.pop();
        tandem::ensure!(last == Some(expected), "round {round}: the actor has {last:?} in place of {expected}");
    }
    let total = spawned.total().await?;
    tandem::ensure!(total == (expected, rounds * 50), "the actor has counted {total:?}");
    println!("right");
    Ok(())
}
