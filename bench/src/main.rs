//! Measures Tandem beside its peers, in one run on one machine, and prints ratios.
//!
//! Build it in the release profile: `cargo build --release --bin tandem && cargo run --release -p bench -- tpch --scale 1`.

mod cluster;
mod report;
mod tpch;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measure Tandem beside its peers")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// The 22 queries of TPC-H: worker processes beside single-process DataFusion
    Tpch(tpch::Arguments),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().measurement {
        Measurement::Tpch(arguments) => tpch::run(arguments).await,
    }
}
