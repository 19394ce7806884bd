//! TPC-H at scale 0.1: every query gives what single-process DataFusion gives.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::support::Sandbox;

const TABLES: [&str; 8] = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];

#[test]
fn tpch_on_two_workers() {
    check(2, &[2, 7]);
}

#[test]
fn tpch_on_three_workers() {
    check(3, &[1, 16]);
}

fn check(workers: u32, partitions: &[usize]) {
    let sandbox = Sandbox::with_cluster(workers);
    sandbox.run(&["data", "gen", "tpch", "--scale", "0.1", "--out", "tpch"]).succeeded();
    let tables: Vec<String> = TABLES.iter().map(|table| format!("{table}=tpch/{table}.parquet")).collect();
    for query in 1..=22 {
        let sql = self::query(query);
        let expected = expect(&sandbox.work(), &sql);
        for partitions in partitions {
            let setting = format!("datafusion.execution.target_partitions={partitions}");
            let mut arguments = vec!["sql", "-e", &sql, "-o", "csv", "--set", &setting];
            if *partitions > 2 {
                // These tables are too small for it by themselves.
                arguments.extend(["--set", "tandem.prefilter_min_rows=1000"]);
            }
            arguments.extend(tables.iter().flat_map(|table| ["--table", table.as_str()]));
            let got = sandbox.run(&arguments).succeeded().stdout;
            assert_eq!(rows(&got), expected, "q{query} with {partitions} partitions on {workers} workers");
        }
    }
}

/// The text of one query.
pub(crate) fn query(number: u32) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../bench/queries/tpch/q{number:02}.sql"));
    std::fs::read_to_string(path).expect("a query")
}

/// What single-process DataFusion answers, as normalised rows.
pub(crate) fn expect(folder: &Path, sql: &str) -> Vec<String> {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let batches = runtime.block_on(async {
        let context = SessionContext::new();
        for table in TABLES {
            let path = folder.join(format!("tpch/{table}.parquet")).display().to_string();
            context.register_parquet(table, path, ParquetReadOptions::default()).await.expect("a table");
        }
        context.sql(sql).await.expect("a query").collect().await.expect("an answer")
    });
    let mut rows: Vec<String> = batches.iter().flat_map(batch_rows).collect();
    rows.sort();
    rows
}

fn batch_rows(batch: &RecordBatch) -> Vec<String> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(texts).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| normal(&column[row])).collect::<Vec<_>>().join("|"))
        .collect()
}

fn texts(column: &ArrayRef) -> Vec<String> {
    assert!(!matches!(column.data_type(), DataType::List(_)), "a plain column");
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options).expect("printable");
    (0..column.len()).map(|row| formatter.value(row).to_string()).collect()
}

/// The rows of a CSV text with a header, sorted. Fields of TPC-H answers hold commas and quotes in comments.
pub(crate) fn rows(csv: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let mut rows: Vec<String> = reader
        .records()
        .map(|record| record.expect("a record").iter().map(normal).collect::<Vec<_>>().join("|"))
        .collect();
    rows.sort();
    rows
}

/// Numbers to nine significant digits, other text as it is.
fn normal(text: &str) -> String {
    match text.parse::<f64>() {
        Ok(number) if text.contains(['.', 'e', 'E']) => format!("{number:.8e}"),
        _ => text.to_owned(),
    }
}
