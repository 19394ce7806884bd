//! A pool of actors that loses one while all of them have calls: `pools FILE`. Says the process of each actor; from the tenth call on they
//! wait until there is a FILE. Prints how many actors are left, and `right` at its end, or fails.

use std::path::Path;
use std::time::Duration;

use tandem::prelude::*;

/// Calls in all.
const CALLS: u64 = 60;

/// Squares.
struct Squarer;

#[tandem::actor(retry_calls)]
impl Squarer {
    fn new() -> Self {
        Self
    }

    fn process(&self) -> u32 {
        std::process::id()
    }

    fn square(&self, n: u64, file: String) -> u64 {
        while n >= 10 && !Path::new(&file).exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        n * n
    }
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let file: String = args.parse(0)?;
    let pool = Squarer::spawn(&ctx).pool(3).await?;
    for squarer in pool.actors() {
        println!("actor in process {}", squarer.process().await?);
    }
    let mut squares = pool.map(0..CALLS, |squarer, n| squarer.square(n, file.as_str()));
    for n in 0..CALLS {
        if n == 10 {
            println!("waiting");
        }
        let square = squares.next().await.transpose()?;
        tandem::ensure!(square == Some(n * n), "{n} squared is {square:?}");
    }
    tandem::ensure!(squares.next().await.is_none(), "there is one result too many");
    let mut left = 0;
    for squarer in pool.actors() {
        left += u32::from(squarer.process().await.is_ok());
    }
    println!("{left} actors are left");
    println!("right");
    Ok(())
}
