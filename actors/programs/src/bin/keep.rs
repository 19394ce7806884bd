//! What is made on all workers and read when some of them are gone: `keep FILE [PUT]`. Says `made` when all is made, and where; waits
//! until there is a FILE, and reads it then. Prints `right` at its end, or fails. With `PUT`, tasks also put values, which stay
//! where they were put.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tandem::prelude::*;

/// Values of each kind.
const COUNT: u64 = 30;
/// Of a value that does not fit into a message.
const BYTES: usize = 300_000;

fn filled(n: u64) -> Bytes {
    vec![n as u8; BYTES].into()
}

fn is_filled(bytes: &Bytes, n: u64) -> bool {
    bytes.len() == BYTES && bytes.iter().all(|byte| *byte == n as u8)
}

/// Says where it runs, and takes a while, so that others run elsewhere.
fn greet(ctx: &Context, n: u64) {
    println!("{n} is made on {}", ctx.worker_name());
    std::thread::sleep(Duration::from_millis(50));
}

/// A large value.
#[tandem::task]
fn large(ctx: Context, n: u64) -> Bytes {
    greet(&ctx, n);
    filled(n)
}

/// Where it ran, and a large value that it has put there.
#[tandem::task]
fn put(ctx: Context, n: u64) -> Result<(String, ObjectRef<Bytes>)> {
    greet(&ctx, n);
    Ok((ctx.worker_name().to_owned(), ctx.put(&filled(n))?))
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let file: String = args.parse(0)?;
    let puts = if args.len() > 1 { COUNT } else { 0 };
    let large: Vec<_> = (0..COUNT).map(|n| large::with(&ctx).spread().submit(n)).collect();
    let put: Vec<_> = (0..puts).map(|n| put::with(&ctx).spread().submit(n)).collect();
    let put = ctx.get_all(&put).await?;
    ctx.wait(&large, large.len(), None).await;
    let workers: BTreeSet<_> = put.iter().map(|(worker, _)| worker).collect();
    println!("made, put on {}", workers.len());
    while !Path::new(&file).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    for (n, bytes) in (0..).zip(ctx.get_all(&large).await?) {
        tandem::ensure!(is_filled(&bytes, n), "{n} is another than was made");
    }
    for (n, (worker, bytes)) in (0..).zip(put) {
        tandem::ensure!(is_filled(&bytes.await?, n), "{n} is another than was put on {worker}");
    }
    println!("right");
    Ok(())
}
