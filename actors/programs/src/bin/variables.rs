//! What processes on each worker see of variables: `variables NAME…`. Prints a line for each worker, in order, and what a task
//! with variables of its own sees.

use std::collections::BTreeSet;

use tandem::prelude::*;

/// Sees what its process sees.
struct Witness;

#[tandem::actor]
impl Witness {
    fn new() -> Self {
        Self
    }

    fn all(&self, ctx: Context, names: Vec<String>) -> String {
        format!("{} {}", ctx.worker_name(), seen(&names))
    }
}

#[tandem::task]
fn of_task(names: Vec<String>) -> String {
    seen(&names)
}

/// The variables that are set.
fn seen(names: &[String]) -> String {
    let value = |name: &String| std::env::var(name).ok().map(|value| format!("{name}={value}"));
    names.iter().filter_map(value).collect::<Vec<_>>().join(" ")
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let names: Vec<String> = (0..args.len()).map(|place| args.parse(place)).collect::<std::result::Result<_, _>>()?;
    let mut witnesses = Vec::new();
    for _ in 0..12 {
        witnesses.push(Witness::spawn(&ctx).await?);
    }
    let answers: Vec<_> = witnesses.iter().map(|witness| witness.all(names.clone())).collect();
    let lines: BTreeSet<String> = ctx.get_all(&answers).await?.into_iter().collect();
    for line in lines {
        println!("{line}");
    }
    let own = of_task::with(&ctx).env(&names[0], "task").submit(names.clone()).await?;
    println!("task {own}");
    Ok(())
}
