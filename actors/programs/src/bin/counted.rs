//! Calls that must happen once, whatever is killed meanwhile: `counted ROUNDS [SLOW_MS]`. An actor counts its calls and makes checkpoints,
//! and each call must get the next count. Prints `right` at its end, or says what is wrong and fails.

use std::time::Duration;

use tandem::prelude::*;

/// Calls of one round.
const CALLS: u64 = 40;
/// More than goes into a message.
const LARGE_BYTES: usize = 200_000;

/// Counts its calls.
struct Counter {
    count: u64,
}

#[tandem::actor(max_restarts = 1000, retry_calls, checkpoint_every = 5)]
impl Counter {
    fn new() -> Self {
        Self { count: 0 }
    }

    fn count(&mut self, ms: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(ms));
        self.count += 1;
        self.count
    }

    /// The same, with an answer that does not fit into a message.
    fn count_large(&mut self) -> Bytes {
        self.count += 1;
        self.count.to_le_bytes().into_iter().cycle().take(LARGE_BYTES).collect::<Vec<u8>>().into()
    }

    fn total(&self) -> u64 {
        self.count
    }

    fn checkpoint(&self) -> u64 {
        self.count
    }

    fn restore(count: u64) -> Self {
        Self { count }
    }
}

enum Called {
    Small(ObjectRef<u64>),
    Large(ObjectRef<Bytes>),
    Read(ObjectRef<u64>),
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let rounds: u64 = args.parse(0)?;
    let ms: u64 = if args.len() > 1 { args.parse(1)? } else { 0 };
    let counter = Counter::spawn(&ctx).await?;
    let mut count = 0;
    for round in 0..rounds {
        let call = |number| match (round + number) % 8 {
            0 => Called::Large(counter.count_large()),
            3 => Called::Read(counter.total()),
            _ => Called::Small(counter.count(ms)),
        };
        for called in (0..CALLS).map(call).collect::<Vec<_>>() {
            let (got, counts) = match called {
                Called::Small(got) => (got.await?, true),
                Called::Read(got) => (got.await?, false),
                Called::Large(got) => {
                    let bytes = got.await?;
                    let (words, rest) = bytes.as_chunks::<8>();
                    let first = words.first().copied().map_or(0, u64::from_le_bytes);
                    let whole = rest.is_empty() && words.iter().all(|word| u64::from_le_bytes(*word) == first);
                    tandem::ensure!(whole && bytes.len() == LARGE_BYTES, "round {round}: a damaged answer");
                    (first, true)
                }
            };
            count += u64::from(counts);
            tandem::ensure!(got == count, "round {round}: the actor gives {got} in place of {count}");
        }
    }
    let total = counter.total().await?;
    tandem::ensure!(total == count, "the actor has counted {total} of {count} calls");
    println!("right");
    Ok(())
}
