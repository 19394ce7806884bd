//! Says the value of the variable KEY wherever a program can say something: `reveal print|return|panic|driver`.

use tandem::prelude::*;

/// Says it in one way.
#[tandem::task(retries = 0)]
fn reveal(how: String) -> Result<()> {
    let key = std::env::var("KEY")?;
    match how.as_str() {
        "print" => println!("the key is {key}"),
        "return" => {
            let refused = tandem::anyhow::anyhow!("no such user: {key}");
            return Err(refused.context(format!("cannot connect with {key}")));
        }
        _ => panic!("what can be done with {key}?"),
    }
    Ok(())
}

#[tandem::main(requires = ["KEY", "PLACE"])]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let how: String = args.parse(0)?;
    if how == "driver" {
        tandem::bail!("the main program knows {}", std::env::var("KEY")?);
    }
    if let Err(failure) = reveal::submit(&ctx, how).await {
        println!("{failure}");
    }
    Ok(())
}
