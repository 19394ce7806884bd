//! Large values on their way: `carry BYTES [WAIT]`. One goes from the main program to a task and to an actor, as an object and as an
//! argument, and comes back from both. Prints `right` at its end, or fails. With `WAIT`, a task holds it up until it is killed.

use tandem::prelude::*;

/// Each byte, and one more.
#[tandem::task]
fn next(bytes: Bytes) -> Bytes {
    bytes.iter().map(|byte| byte.wrapping_add(1)).collect::<Vec<u8>>().into()
}

/// Never ends.
#[tandem::task]
fn stay() {
    println!("a task stays");
    std::thread::park();
}

/// Keeps what it was given.
struct Shelf {
    kept: Vec<Bytes>,
}

#[tandem::actor]
impl Shelf {
    fn new() -> Self {
        Self { kept: Vec::new() }
    }

    fn keep(&mut self, bytes: Bytes) -> u64 {
        self.kept.push(bytes);
        self.kept.iter().map(|bytes| bytes.len() as u64).sum()
    }

    fn take(&mut self) -> Option<Bytes> {
        self.kept.pop()
    }
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let length: usize = args.parse(0)?;
    let value: Bytes = (0..length).map(|at| at as u8).collect::<Vec<u8>>().into();
    let object = ctx.put(&value)?;
    if args.len() > 1 {
        println!("waiting");
        stay::submit(&ctx).await?;
    }
    let next = next::submit(&ctx, &object).await?;
    let right = next.len() == length && next.iter().zip(&value).all(|(next, byte)| *next == byte.wrapping_add(1));
    tandem::ensure!(right, "a task gave {} bytes that are wrong", next.len());
    drop((next, object));
    let shelf = Shelf::spawn(&ctx).await?;
    let small = Bytes::from_static(b"small");
    tandem::ensure!(shelf.keep(small.clone()).await? == 5, "an actor has lost a small value");
    tandem::ensure!(shelf.keep(value.clone()).await? == length as u64 + 5, "an actor has lost a large value");
    tandem::ensure!(shelf.take().await? == Some(value), "an actor gave another large value");
    tandem::ensure!(shelf.take().await? == Some(small), "an actor gave another small value");
    println!("right");
    Ok(())
}
