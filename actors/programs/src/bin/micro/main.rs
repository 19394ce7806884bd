//! The calls of Ray's microbenchmark, and its limits on one node: `micro [SECTION…]`. Prints one JSON object per line: what was
//! measured, its value, and the unit. How many calls are under way at once is as it is there.

mod actors;
mod limits;
mod measure;
mod objects;
mod starts;
mod tasks;

use tandem::prelude::*;

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let wanted = |section: &str| args.is_empty() || args.iter().any(|arg| arg == section);
    if wanted("tasks") {
        tasks::measure(&ctx).await?;
    }
    if wanted("actors") {
        actors::measure(&ctx).await?;
    }
    if wanted("starts") {
        starts::measure(&ctx).await?;
    }
    if wanted("small") {
        objects::small(&ctx).await?;
    }
    if wanted("large") {
        objects::large(&ctx).await?;
    }
    if wanted("refs") {
        objects::refs(&ctx).await?;
    }
    if wanted("limits") {
        limits::measure(&ctx).await?;
    }
    Ok(())
}
