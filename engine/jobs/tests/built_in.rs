//! The built-in jobs, planned, run task by task in this process, and published: golden values for `sales`, and for
//! dirty `events` the counts and sums that a plain reading of the file gives.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;
use support::run_built_in;
use tandem_exec::storage::Storage;
use tandem_jobs::datagen::{Dataset, Format, GenerateSpec, Size, generate};
use tandem_jobs::report::Rows;
use tempfile::TempDir;

const GOLDEN_SALES: &str = include_str!("golden/sales.json");
const GOLDEN_ANALYSIS: &str = include_str!("golden/ray_analysis.json");

async fn make(folder: &Path, dataset: Dataset, rows: u64, out: &str, dirty: f64) {
    let spec = GenerateSpec {
        dataset,
        size: Size::Rows(rows),
        seed: 7,
        out: out.to_owned(),
        format: Format::from_path(out),
        dirty,
    };
    generate(&spec, &Storage::new(BTreeMap::new()), folder, 2, |_| {}, std::future::pending()).await.expect("data");
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sales_gives_the_golden_values_from_its_own_rows_and_from_every_format() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    for slots in [1, 3] {
        run_built_in("sales", &[("output", "own")], folder, slots).await;
        assert_eq!(read(folder, "own/spark_output.json"), GOLDEN_SALES);
        assert_eq!(read(folder, "own/ray_analysis.json"), GOLDEN_ANALYSIS);
    }
    for file in ["demo.csv", "demo.jsonl", "demo.parquet"] {
        make(folder, Dataset::SalesDemo, 9, file, 0.0).await;
        let summary = run_built_in("sales", &[("input", file), ("output", file.split_at(5).1)], folder, 3).await;
        assert_eq!(read(folder, &format!("{}/spark_output.json", file.split_at(5).1)), GOLDEN_SALES, "{file}");
        assert_eq!(summary.read.rows, 9, "{file}");
        assert_eq!(summary.read.bytes, std::fs::metadata(folder.join(file)).expect("a file").len(), "{file}");
        assert_eq!(summary.written.rows, 4, "{file}: three products, one analysis");
        assert!(summary.warnings.is_empty(), "{file}");
    }
}

/// One readable event of the file, as the rules of the job see it.
struct Event {
    time: String,
    product: String,
    quantity: i64,
    cents: i64,
}

/// What a plain reading of the CSV gives: where rows go, and the events that are left.
fn expected(csv: &str) -> (Rows, HashMap<String, Event>) {
    let mut rows = Rows::default();
    let mut left: HashMap<String, Event> = HashMap::new();
    for line in csv.lines().skip(1) {
        rows.read += 1;
        // The only quoted field is a category.
        let plain = line.replace("\"toys, games\"", "toys");
        let fields: Vec<&str> = plain.split(',').collect();
        let [id, time, user, product, _, quantity, price, _, _] = fields[..] else {
            rows.rejected += 1;
            continue;
        };
        let (quantity, price) = (quantity.parse::<i64>(), price.parse::<f64>());
        let (Ok(quantity), Ok(price), false) = (quantity, price, time.contains("-13-")) else {
            rows.rejected += 1;
            continue;
        };
        if [id, time, user, product].iter().any(|key| key.is_empty()) || quantity <= 0 || price < 0.0 {
            rows.dropped += 1;
            continue;
        }
        let cents = (price * 100.0).round() as i64;
        let event = Event { time: time.to_owned(), product: product.to_owned(), quantity, cents };
        match left.get_mut(id) {
            None => {
                left.insert(id.to_owned(), event);
            }
            Some(kept) => {
                rows.deduplicated += 1;
                if event.time > kept.time {
                    *kept = event;
                }
            }
        }
    }
    rows.written = left.len() as u64;
    (rows, left)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_accounted_for() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    make(folder, Dataset::Events, 20_000, "events.csv", 0.05).await;
    let (rows, left) = expected(&read(folder, "events.csv"));
    assert!(rows.adds_up() && [rows.rejected, rows.dropped, rows.deduplicated].iter().all(|&n| n > 50), "{rows:?}");

    let params = [("input", "events.csv"), ("products", "products.csv"), ("output", "out")];
    let summary = run_built_in("events", &params, folder, 3).await;
    assert_eq!(summary.flows.len(), 1);
    assert_eq!(summary.rows, rows);
    assert!(summary.checks.iter().all(|check| check.passed == Some(true)) && summary.checks.len() == 2);

    let totals: Value = serde_json::from_str(&read(folder, "out/totals.json")).expect("json");
    let revenue: i64 = left.values().map(|event| event.quantity * event.cents).sum();
    assert_eq!(totals[0]["orders"], left.len());
    assert_eq!(totals[0]["units"], left.values().map(|event| event.quantity).sum::<i64>());
    let found = totals[0]["total_revenue"].to_string().trim_matches('"').parse::<f64>().expect("a number");
    assert!((found - revenue as f64 / 100.0).abs() < 0.005, "{found} is not {revenue} cents");

    let mut products: HashMap<&str, i64> = HashMap::new();
    for event in left.values() {
        *products.entry(&event.product).or_default() += event.quantity * event.cents;
    }
    let mut best: Vec<(i64, &str)> = products.into_iter().map(|(product, cents)| (-cents, product)).collect();
    best.sort_unstable();
    let top: Value = serde_json::from_str(&read(folder, "out/top_products.json")).expect("json");
    let top: Vec<&str> = top.as_array().expect("rows").iter().filter_map(|row| row["product_id"].as_str()).collect();
    assert_eq!(top, best.iter().take(20).map(|(_, product)| *product).collect::<Vec<_>>());

    let rejects: usize = files(&folder.join("out/rejects")).iter().map(|text| text.lines().count()).sum();
    assert_eq!(rejects as u64, rows.rejected, "every reject is written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_format_of_the_same_events_gives_the_same_tables() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    for file in ["events.csv", "events.jsonl", "events.parquet"] {
        make(folder, Dataset::Events, 3000, file, 0.0).await;
    }
    let objects: Vec<String> = read(folder, "events.jsonl").lines().map(str::to_owned).collect();
    std::fs::write(folder.join("events.json"), format!("[{}]", objects.join(",\n"))).expect("written");
    let mut outcomes = Vec::new();
    for file in ["events.csv", "events.jsonl", "events.json", "events.parquet"] {
        let params = [("input", file), ("products", "products.csv"), ("output", "out")];
        let summary = run_built_in("events", &params, folder, 2).await;
        assert_eq!((summary.rows.read, summary.rows.written), (3000, 3000), "{file}");
        assert!(summary.rows.adds_up(), "{file}");
        outcomes.push((read(folder, "out/totals.json"), read(folder, "out/top_products.json")));
    }
    outcomes.dedup();
    assert_eq!(outcomes.len(), 1, "{outcomes:#?}");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.map(|path| std::fs::read_to_string(path).expect("text")).collect()
}
