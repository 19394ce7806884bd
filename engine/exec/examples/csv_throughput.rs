//! How fast one core reads CSV: `cargo run --release -p tandem-exec --example csv_throughput -- [MEGABYTES | FILE] [SQL]`.
//!
//! Without a file it makes one of events in a temporary folder. The SQL reads the table `t`.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use tandem_exec::source::{SourceSpec, open_source};
use tandem_exec::storage::Storage;

const SCHEMA: &str = "event_id string not null, event_time timestamp not null, user_id string, product_id string, \
                      category string, quantity int, unit_price decimal(12,2), country string, status string";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().unwrap_or_else(|| "256".to_owned());
    let sql = arguments.next().unwrap_or_else(|| "SELECT * FROM t".to_owned());
    let folder = std::env::temp_dir().join(format!("csv-throughput-{}", std::process::id()));
    let made = first.parse::<usize>().ok().map(|megabytes| make_events(&folder, megabytes)).transpose()?;
    let file = made.clone().unwrap_or_else(|| PathBuf::from(&first));
    // One thread computes; another reads the disk ahead of it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let result = runtime.block_on(runtime.spawn(measure(file, made.is_some(), sql)));
    if made.is_some() {
        std::fs::remove_dir_all(&folder)?;
    }
    result?.map_err(Into::into)
}

async fn measure(file: PathBuf, events: bool, sql: String) -> Result<(), String> {
    let storage = Arc::new(Storage::new(BTreeMap::new()));
    let config = SessionConfig::new().with_target_partitions(1);
    let context = SessionContext::new_with_config_rt(config, storage.runtime(&RuntimeEnv::default()));
    let spec = SourceSpec {
        schema: events.then(|| SCHEMA.to_owned()),
        base_dir: std::env::current_dir().map_err(|error| error.to_string())?,
        ..SourceSpec::new("t", file.to_string_lossy())
    };
    let source = open_source(&spec, &storage, &context).await.map_err(|error| error.to_string())?;
    context.register_table("t", source.table).map_err(|error| error.to_string())?;
    let megabytes = std::fs::metadata(&file).map_err(|error| error.to_string())?.len() as f64 / 1e6;
    for round in 1..=3 {
        let start = Instant::now();
        let query = context.sql(&sql).await.map_err(|error| error.to_string())?;
        let mut rows = query.execute_stream().await.map_err(|error| error.to_string())?;
        let mut count = 0;
        while let Some(batch) = rows.next().await {
            count += batch.map_err(|error| error.to_string())?.num_rows();
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("round {round}: {count} rows, {megabytes:.0} MB in {seconds:.3} s, {:.0} MB/s", megabytes / seconds);
    }
    Ok(())
}

/// Events like those of `tandem data gen events`.
fn make_events(folder: &Path, megabytes: usize) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("events.csv");
    let mut file = BufWriter::new(std::fs::File::create(&path)?);
    writeln!(file, "event_id,event_time,user_id,product_id,category,quantity,unit_price,country,status")?;
    let (mut written, mut n) = (0, 0_u64);
    while written < megabytes * 1_000_000 {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let row = format!(
            "evt-{n:012},2024-{:02}-{:02}T{:02}:{:02}:{:02}.{:06},user-{:06},product-{:05},\"category, {}\",{},{}.{:02},{},{}\n",
            mixed % 12 + 1,
            mixed % 28 + 1,
            mixed % 24,
            mixed % 60,
            n % 60,
            mixed % 1_000_000,
            mixed % 500_000,
            mixed % 20_000,
            mixed % 12,
            mixed % 9 + 1,
            mixed % 300,
            mixed % 100,
            ["de", "US ", "fr", "in"][(mixed % 4) as usize],
            ["completed", "pending", "cancelled"][(mixed % 3) as usize],
        );
        file.write_all(row.as_bytes())?;
        written += row.len();
        n += 1;
    }
    file.flush()?;
    Ok(path)
}
