//! Measures Tandem beside its peers, in one run on one machine, and prints ratios.
//!
//! Build the whole workspace in the release profile first, so that the `tandem` binary is beside this one:
//! `cargo build --release --workspace --bins && cargo run --release -p bench -- tpch --scale 1`.

mod adaptive;
mod answer;
mod cluster;
mod contest;
mod cores;
mod data;
mod draw;
mod embed;
mod etl;
mod faults;
mod floats;
mod mf;
mod peers;
mod process;
mod programs;
mod report;
mod rounds;
mod sales;
mod tpch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about = "Measure Tandem beside its peers", max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Debug, Subcommand)]
enum Measurement {
    /// The 22 queries of TPC-H: worker processes beside single-process DataFusion and DuckDB
    Tpch(tpch::Arguments),
    /// What it gains that queries adapt to measured sizes and times: each adaptation on and off
    Adaptive(adaptive::Arguments),
    /// A dirty CSV file cleaned, joined, aggregated, written as Parquet: `tandem run` beside DuckDB and Polars
    Etl(etl::Arguments),
    /// The built-in job `sales`: a cold start over nine rows, and many rows in Parquet
    Sales(sales::Arguments),
    /// Tasks, actors and objects of programs, beside Ray's own microbenchmark
    Programs(programs::Arguments),
    /// Killed workers, coordinators and clients: what is lost and how long it takes
    Faults(faults::Arguments),
    /// Texts to vectors in each precision, beside ONNX Runtime and sentence-transformers
    Embed(embed::Arguments),
    /// Matrix factorisation: FunkSVD beside LIBMF and scikit-surprise, iALS beside implicit
    Mf(mf::Arguments),
    /// Tandem's part in `embed`
    #[command(hide = true)]
    EmbedRounds(embed::tandem::Arguments),
    /// Tandem's part in `mf`
    #[command(hide = true)]
    MfRounds(mf::tandem::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().measurement {
        Measurement::Tpch(arguments) => tpch::run(arguments).await,
        Measurement::Adaptive(arguments) => adaptive::run(arguments).await,
        Measurement::Etl(arguments) => etl::run(arguments).await,
        Measurement::Sales(arguments) => sales::run(arguments).await,
        Measurement::Programs(arguments) => programs::run(arguments).await,
        Measurement::Faults(arguments) => faults::run(arguments).await,
        Measurement::Embed(arguments) => embed::run(&arguments),
        Measurement::Mf(arguments) => mf::run(&arguments),
        Measurement::EmbedRounds(arguments) => embed::tandem::run(&arguments),
        Measurement::MfRounds(arguments) => mf::tandem::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
