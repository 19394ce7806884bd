//! An actor that outlives the job that made it: `shop open` makes it, `shop sell ITEM BYTES` calls it from another job with values
//! of that size, `shop close` ends it. Each prints what it has found.

use std::collections::BTreeMap;

use tandem::prelude::*;

const NAMESPACE: &str = "shop";
const NAME: &str = "stock";

/// What there is of each item.
struct Stock {
    items: BTreeMap<String, u64>,
}

#[tandem::actor]
impl Stock {
    fn new(count: u64) -> Self {
        let items = ["apple", "pear"].map(|item| (item.to_owned(), count));
        Self { items: items.into() }
    }

    fn take(&mut self, item: String) -> Result<u64> {
        match self.items.get_mut(&item) {
            Some(left @ 1..) => *left -= 1,
            _ => tandem::bail!("no {item} left"),
        }
        Ok(self.items[&item])
    }

    /// The same bytes backwards.
    fn turn(&self, bytes: Bytes) -> Bytes {
        bytes.iter().rev().copied().collect::<Vec<u8>>().into()
    }

    fn place(&self, ctx: Context) -> String {
        ctx.worker_name().to_owned()
    }
}

async fn stock(ctx: &Context) -> Result<StockHandle> {
    let found = Stock::find_in(ctx, NAMESPACE, NAME).await?;
    found.ok_or_else(|| tandem::anyhow::anyhow!("nobody is called {NAME} in {NAMESPACE}"))
}

/// Calls it from wherever this runs.
#[tandem::task]
async fn take(stock: StockHandle, item: String) -> Result<u64> {
    Ok(stock.take(item).await?)
}

async fn sell(ctx: &Context, item: String, length: usize) -> Result<()> {
    let stock = stock(ctx).await?;
    let tasks: Vec<_> = (0..4).map(|_| take::with(ctx).spread().submit(stock.clone(), item.clone())).collect();
    let least = ctx.get_all(&tasks).await?.into_iter().min();
    let bytes: Bytes = (0..length).map(|at| at as u8).collect::<Vec<u8>>().into();
    let turned = stock.turn(&ctx.put(&bytes)?).await?;
    tandem::ensure!(turned.iter().rev().eq(bytes.iter()), "{} bytes came back wrong", turned.len());
    println!("{} of {item} left", least.unwrap_or_default());
    match stock.take("plum").await {
        Ok(left) => println!("{left} plums left"),
        Err(failure) => println!("{:?}: {}", failure.kind, failure.message),
    }
    Ok(())
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let what: String = args.parse(0)?;
    match what.as_str() {
        "open" => {
            let spawn = Stock::get_or_create(&ctx, NAME, 10_u64).namespace(NAMESPACE).detached();
            let stock = spawn.resources(cpus(0.1)).await?;
            println!("{} apples on {}", stock.take("apple").await?, stock.place().await?);
        }
        "sell" => sell(&ctx, args.parse(1)?, args.parse(2)?).await?,
        "close" => stock(&ctx).await?.end(),
        other => tandem::bail!("what is it to {other}?"),
    }
    Ok(())
}
