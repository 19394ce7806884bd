//! TPC-H: the same Parquet files, the same queries, Tandem's worker processes beside single-process DataFusion in this one.
//! Rounds alternate between the two; each query's first round warms up and does not count.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::cluster::{Cluster, binary, call};
use crate::report::{Report, Row, median};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scale factor; 1 is about 1 GB of raw data
    #[arg(long, default_value = "1")]
    scale: String,
    /// Worker processes, of one slot each
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Memory limit of each worker
    #[arg(long, default_value = "4GiB")]
    memory: String,
    /// Rounds that count
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where data, state and results are kept
    #[arg(long, default_value = "target/bench")]
    folder: PathBuf,
    /// Only these queries, such as 1,6,21
    #[arg(long, value_delimiter = ',')]
    queries: Vec<u32>,
}

const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let folder = std::path::absolute(&arguments.folder)?;
    std::fs::create_dir_all(&folder)?;
    let data = generate(&folder, &arguments.scale)?;
    let tables: Vec<(String, String)> = TABLES
        .iter()
        .map(|table| ((*table).to_owned(), data.join(format!("{table}.parquet")).display().to_string()))
        .collect();
    let single = single_process(&tables, arguments.workers as usize).await?;
    let cluster = Cluster::start(&folder, arguments.workers, &arguments.memory).await?;
    let queries = if arguments.queries.is_empty() { (1..=22).collect() } else { arguments.queries.clone() };
    let mut rows = Vec::new();
    for query in queries {
        let row = measure(query, arguments.rounds, &cluster, &single, &tables).await?;
        eprintln!("{}: {:.0} ms, DataFusion {:.0} ms", row.name, row.tandem_ms, row.peer_ms);
        rows.push(row);
    }
    let report = Report::new("DataFusion", rows, cluster.peak_memory_bytes().await?);
    std::fs::write(folder.join("tpch.json"), serde_json::to_vec_pretty(&report)?)?;
    print!("{}", report.markdown());
    Ok(())
}

/// Makes the data once per scale.
fn generate(folder: &Path, scale: &str) -> anyhow::Result<PathBuf> {
    let data = folder.join(format!("tpch-{scale}"));
    if !data.exists() {
        let made = folder.join(format!("tpch-{scale}.part"));
        let out = made.display().to_string();
        call(&binary()?, folder, &["data", "gen", "tpch", "--scale", scale, "--out", &out])?;
        std::fs::rename(made, &data)?;
    }
    Ok(data)
}

async fn single_process(tables: &[(String, String)], partitions: usize) -> anyhow::Result<SessionContext> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(partitions));
    for (name, path) in tables {
        context.register_parquet(name.as_str(), path, ParquetReadOptions::default()).await?;
    }
    Ok(context)
}

async fn measure(
    query: u32,
    rounds: usize,
    cluster: &Cluster,
    single: &SessionContext,
    tables: &[(String, String)],
) -> anyhow::Result<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("queries/tpch/q{query:02}.sql"));
    let sql = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let (mut tandem, mut peer) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let start = Instant::now();
        let got = cluster.query(&sql, tables).await?;
        let tandem_ms = start.elapsed().as_secs_f64() * 1e3;
        let start = Instant::now();
        let want = single.sql(&sql).await?.collect().await?;
        let peer_ms = start.elapsed().as_secs_f64() * 1e3;
        if round == 0 {
            ensure!(rows_of(&got)? == rows_of(&want)?, "query {query} gives another answer than DataFusion");
        } else {
            tandem.push(tandem_ms);
            peer.push(peer_ms);
        }
    }
    Ok(Row { name: format!("q{query}"), tandem_ms: median(tandem), peer_ms: median(peer) })
}

/// The rows as sorted texts, floats cut to nine significant digits.
fn rows_of(batches: &[RecordBatch]) -> anyhow::Result<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(texts).collect::<anyhow::Result<Vec<_>>>()?;
        rows.extend(
            (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].as_str()).collect::<Vec<_>>().join("|")),
        );
    }
    rows.sort();
    Ok(rows)
}

fn texts(column: &ArrayRef) -> anyhow::Result<Vec<String>> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let float = column.data_type().is_floating();
    (0..column.len())
        .map(|row| {
            let text = formatter.value(row).to_string();
            Ok(if float && !text.is_empty() { format!("{:.9e}", text.parse::<f64>()?) } else { text })
        })
        .collect()
}
