//! What processes on each worker read of attached files: `reader NAME…`. Prints a line for each worker, in order, and what the main
//! program reads.

use std::collections::BTreeSet;
use std::fs;

use tandem::prelude::*;

/// Reads what its process finds.
struct Reader;

#[tandem::actor]
impl Reader {
    fn new() -> Self {
        Self
    }

    fn all(&self, ctx: Context, names: Vec<String>) -> Result<String> {
        Ok(format!("{} {}", ctx.worker_name(), read(&ctx, &names)?))
    }
}

fn read(ctx: &Context, names: &[String]) -> Result<String> {
    let mut texts = Vec::new();
    for name in names {
        texts.push(fs::read_to_string(ctx.attached(name)?)?);
    }
    Ok(texts.join(" "))
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let names: Vec<String> = (0..args.len()).map(|place| args.parse(place)).collect::<std::result::Result<_, _>>()?;
    let mut readers = Vec::new();
    for _ in 0..12 {
        readers.push(Reader::spawn(&ctx).await?);
    }
    let answers: Vec<_> = readers.iter().map(|reader| reader.all(names.clone())).collect();
    let lines: BTreeSet<String> = ctx.get_all(&answers).await?.into_iter().collect();
    for line in lines {
        println!("{line}");
    }
    println!("main {}", read(&ctx, &names)?);
    Ok(())
}
