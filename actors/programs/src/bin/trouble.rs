//! Does what a cluster must survive: `trouble KIND [N]`. With `N`, that many tasks do it, and what became of each is printed.

use std::io::Write;

use tandem::prelude::*;

/// Does one wrong thing.
#[tandem::task(retries = 0)]
fn act(kind: String) -> Result<u64> {
    match kind.as_str() {
        "return" => tandem::bail!("this one never works"),
        "panic" => panic!("this one panics"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "memory" => Ok(hoard()),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "print" => print_much(),
        "children" => leave_children(),
        other => tandem::bail!("there is no trouble called {other}"),
    }
}

/// Takes memory until it is stopped.
fn hoard() -> u64 {
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 16 << 20]);
        if held.len() > 1 << 16 {
            return held.len() as u64;
        }
    }
}

fn print_much() -> Result<u64> {
    let line = [b'x'; 1023];
    let mut out = std::io::stdout().lock();
    for _ in 0..1_u32 << 20 {
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(1)
}

/// Starts processes that would outlive it.
fn leave_children() -> Result<u64> {
    for _ in 0..5 {
        std::process::Command::new("sleep").arg("10000").spawn()?;
    }
    Ok(5)
}

#[tandem::main]
async fn main(ctx: Context, args: Args) -> Result<()> {
    let kind: String = args.parse(0)?;
    let count: usize = if args.len() > 1 { args.parse(1)? } else { 1 };
    if kind == "driver" {
        std::process::exit(7);
    }
    let acts: Vec<_> = (0..count).map(|_| act::submit(&ctx, kind.clone())).collect();
    for act in &acts {
        match act.await {
            Ok(value) => println!("value {value}"),
            Err(failure) => println!("{:?}: {failure}", failure.kind),
        }
    }
    Ok(())
}
