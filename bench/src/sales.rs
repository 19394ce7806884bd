//! The built-in job `sales`: how long nine rows take from nothing to nothing, and many rows in Parquet beside programs that
//! compute the same. Each run is a cold start, the whole cluster included.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use serde_json::Value;

use crate::cluster::{self, Shape};
use crate::contest::Contest;
use crate::data;
use crate::peers::{Peer, Peers};
use crate::process::{self, Ran};
use crate::report::{Report, TANDEM};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rows of the Parquet file
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    #[command(flatten)]
    shape: Shape,
    /// Rounds that count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Engines to compare with
    #[arg(long, value_delimiter = ',', default_value = "duckdb,polars")]
    peers: Vec<Peer>,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = data::folder(&arguments.folder)?;
    let mut report = Report::new("sales");
    let peers = Peers::prepare("sales", &arguments.peers, &mut report)?;
    let bench = Bench { folder: &folder, arguments: &arguments };
    let input = data::sales(&folder, arguments.rows)?.join("sales.parquet");
    data::warm(&input)?;
    let (mut nine, mut many) = (Contest::default(), Contest::default());
    for round in 0..=arguments.rounds {
        let ran = bench.tandem("nine", &[])?;
        let mut all = vec![(TANDEM, bench.many(&input)?)];
        for peer in peers.found() {
            all.push((peer.name(), bench.peer(&peers, *peer, &input)?));
        }
        // The first round brings everything into the page cache.
        if round == 0 {
            bench.compare(peers.found())?;
            continue;
        }
        nine.ran(TANDEM, ran);
        all.into_iter().for_each(|(who, ran)| many.ran(who, ran));
    }
    let rows = arguments.rows;
    report.line(nine.time("nine rows, three workers: time")?);
    report.line(nine.memory("nine rows, three workers: most memory of all processes (PSS)")?);
    report.line(many.time(&format!("{rows} rows: time"))?);
    report.line(many.memory(&format!("{rows} rows: most memory of all processes (PSS)"))?);
    report.publish(&folder)
}

struct Bench<'a> {
    folder: &'a Path,
    arguments: &'a Arguments,
}

impl Bench<'_> {
    fn out(&self, name: &str) -> PathBuf {
        self.folder.join("out").join(name)
    }

    fn tandem(&self, name: &str, more: &[String]) -> anyhow::Result<Ran> {
        let out = self.out(name);
        data::empty(&out)?;
        let mut command = cluster::command(&self.folder.join("state"), &["run", "sales"])?;
        command.arg("--set").arg(format!("output={}", out.display())).args(more);
        process::run(&mut command)
    }

    fn many(&self, input: &Path) -> anyhow::Result<Ran> {
        let mut more = vec!["--set".to_owned(), format!("input={}", input.display())];
        more.extend(self.arguments.shape.arguments());
        self.tandem(TANDEM, &more)
    }

    fn peer(&self, peers: &Peers, peer: Peer, input: &Path) -> anyhow::Result<Ran> {
        let out = self.out(peer.name());
        data::empty(&out)?;
        let mut command = peers.command(peer, "sales", self.arguments.shape.slots());
        command.arg("--input").arg(input).arg("--out").arg(out.join("spark_output.json"));
        process::run(&mut command)
    }

    /// Refuses to report on programs that did not compute the same.
    fn compare(&self, peers: &[Peer]) -> anyhow::Result<()> {
        let ours = products(&self.out(TANDEM))?;
        for peer in peers {
            let theirs = products(&self.out(peer.name()))?;
            let equal = ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| same(a, b));
            ensure!(equal, "{} computes other products than tandem", peer.name());
        }
        Ok(())
    }
}

/// What was computed per product.
fn products(out: &Path) -> anyhow::Result<Vec<BTreeMap<String, Value>>> {
    let text = std::fs::read_to_string(out.join("spark_output.json"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Whether two products have the same fields: sums of floats depend on their order a little.
fn same(a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>) -> bool {
    let equal = |a: &Value, b: &Value| match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => a == b,
    };
    a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| equal(value, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_digits_of_a_sum_may_differ() {
        let product = |revenue: f64| BTreeMap::from([("total_revenue".to_owned(), Value::from(revenue))]);
        assert!(same(&product(484_677_076.560_002), &product(484_677_076.560_001)));
        assert!(!same(&product(484_677_076.56), &product(484_677_077.56)));
        assert!(!same(&product(1.0), &BTreeMap::new()));
    }
}
