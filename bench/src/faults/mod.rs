//! Processes are killed in the middle of work: what is lost, how long it takes, and that the answer stays the same.

mod client;
mod coordinator;
mod storm;
mod worker;

use std::path::PathBuf;

use crate::cluster::Shape;
use crate::data;
use crate::report::Report;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor of TPC-H
    #[arg(long, default_value = "1")]
    scale: String,
    /// Rows of `events`
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    #[command(flatten)]
    shape: Shape,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Instead of one fault of each kind: this many kills at random
    #[arg(long)]
    kills: Option<u64>,
    /// Other seeds kill others at other moments
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first kill, to repeat one of an earlier run
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    if let Some(kills) = arguments.kills {
        let mut report = Report::new("faults-storm");
        storm::run(&folder, &arguments, kills, &mut report).await?;
        return report.publish(&folder);
    }
    let mut report = Report::new("faults");
    worker::run(&folder, &arguments, &mut report).await?;
    coordinator::run(&folder, &arguments, &mut report).await?;
    client::run(&folder, &arguments, &mut report).await?;
    report.publish(&folder)
}
