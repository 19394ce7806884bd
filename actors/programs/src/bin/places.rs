//! Where actors live: `places spread|near ACTORS CPUS`. Prints on how many workers.

use std::collections::BTreeSet;

use tandem::prelude::*;

/// Knows where it is.
struct Place;

#[tandem::actor]
impl Place {
    fn new() -> Self {
        Self
    }

    fn name(&self, ctx: Context) -> String {
        ctx.worker_name().to_owned()
    }
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let (how, count, share): (String, usize, f64) = (args.parse(0)?, args.parse(1)?, args.parse(2)?);
    let mut actors = Vec::new();
    for _ in 0..count {
        let mut place = Place::spawn(&ctx);
        if share > 0.0 {
            place = place.resources(cpus(share));
        }
        if how == "near" {
            place = place.nearby();
        }
        actors.push(place.await?);
    }
    let names: Vec<_> = actors.iter().map(PlaceHandle::name).collect();
    let workers: BTreeSet<String> = ctx.get_all(&names).await?.into_iter().collect();
    println!("{} workers", workers.len());
    Ok(())
}
