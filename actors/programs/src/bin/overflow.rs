//! More large values than there is room for in shared memory: `overflow COUNT BYTES`. The main program puts them, tasks in other processes
//! read them, and it reads them itself. Prints `right` at its end, or fails.

use tandem::prelude::*;

/// No two of these are the same.
fn value(n: u64, length: usize) -> Bytes {
    (0..length as u64).map(|at| (at / 8).wrapping_mul(n + 1) as u8).collect::<Vec<u8>>().into()
}

/// Whether this is the value that was put as number `n`.
#[tandem::task]
fn check(bytes: Bytes, n: u64, length: usize) -> bool {
    bytes == value(n, length)
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (count, length): (u64, usize) = (args.parse(0)?, args.parse(1)?);
    let mut objects = Vec::new();
    for n in 0..count {
        objects.push(ctx.put(&value(n, length))?);
    }
    println!("put {count}");
    let checks: Vec<_> = (0..).zip(&objects).map(|(n, object)| check::submit(&ctx, object, n, length)).collect();
    for (n, right) in (0..).zip(ctx.get_all(&checks).await?) {
        tandem::ensure!(right, "a task has read another value than {n}");
    }
    for (n, object) in (0..).zip(&objects) {
        tandem::ensure!(ctx.get(object).await? == value(n, length), "{n} is another value than was put");
    }
    println!("right");
    Ok(())
}
