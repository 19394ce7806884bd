//! Recorded answers: every statement of `slt/*.slt` gives what its file says, in single-process DataFusion and over
//! stages, however many partitions there are. `TANDEM_SLT_RECORD=1` writes down what DataFusion answers.
//!
//! ```text
//!   # a comment                  query: a letter for each column's type, and `rowsort` where the order is open
//!   query IT rowsort             statement error: both must refuse it
//!   SELECT …
//!   ----
//!   1 a
//! ```

mod support;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use support::{Comparison, cells};

const QUERY: &str = "query";
const ERROR: &str = "statement error";
const RESULT: &str = "----";

/// One statement of a file, or a comment on its own.
#[derive(Debug)]
struct Record {
    line: usize,
    /// The first line; a comment is nothing else.
    head: String,
    sql: String,
    rows: Vec<String>,
}

/// What a query gives.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    types: String,
    rows: Vec<String>,
}

impl Record {
    fn parse(line: usize, block: &str) -> Self {
        let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
        let (sql, rows) = match rest.split_once(RESULT) {
            Some((sql, rows)) => (sql, rows.lines().skip(1).map(str::to_owned).collect()),
            None => (rest, Vec::new()),
        };
        Self { line, head: head.to_owned(), sql: sql.trim().to_owned(), rows }
    }

    fn is_query(&self) -> bool {
        self.head.starts_with(QUERY)
    }

    fn is_comment(&self) -> bool {
        self.head.starts_with('#') && self.sql.lines().all(|line| line.starts_with('#'))
    }

    fn is_sorted(&self) -> bool {
        self.head.ends_with(" rowsort")
    }

    fn expected(&self) -> Answer {
        let types = self.head.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer { types, rows: self.rows.clone() }
    }

    fn answer(&self, schema: &Schema, batches: &[RecordBatch]) -> Answer {
        let mut rows: Vec<String> = cells(batches).into_iter().map(|row| row.join(" ")).collect();
        if self.is_sorted() {
            rows.sort();
        }
        Answer { types: schema.fields().iter().map(|field| letter(field.data_type())).collect(), rows }
    }
}

fn letter(data_type: &DataType) -> char {
    match data_type {
        DataType::Boolean => 'B',
        DataType::Date32 | DataType::Date64 => 'D',
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => 'T',
        other if other.is_integer() => 'I',
        other if other.is_numeric() => 'R',
        _ => '?',
    }
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = folder.read_dir().expect("the folder of recorded answers");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

fn records(file: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(file).expect("a text");
    let mut line = 1;
    let mut records = Vec::new();
    for block in text.split("\n\n") {
        let start = line + block.len() - block.trim_start().len();
        line += block.matches('\n').count() + 2;
        if !block.trim().is_empty() {
            records.push(Record::parse(start, block.trim()));
        }
    }
    for record in &records {
        let known = record.is_query() || record.head == ERROR || record.is_comment();
        assert!(known, "{}:{}: {}", file.display(), record.line, record.head);
    }
    records
}

/// Writes down what DataFusion answers.
async fn record(comparison: &Comparison, file: &Path) {
    let mut blocks = Vec::new();
    for record in records(file) {
        let Record { head, sql, .. } = &record;
        blocks.push(if record.is_query() {
            let (schema, batches) = comparison.expected(sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
            let Answer { types, rows } = record.answer(&schema, &batches);
            let sorted = if record.is_sorted() { " rowsort" } else { "" };
            let head = format!("{QUERY} {types}{sorted}");
            [&[head, sql.clone(), RESULT.to_owned()][..], &rows].concat().join("\n")
        } else {
            [head.as_str(), sql.as_str()].join("\n").trim_end().to_owned()
        });
    }
    std::fs::write(file, blocks.join("\n\n") + "\n").expect("the file can be written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datafusion_gives_what_is_recorded() {
    let comparison = Comparison::start(1, 1).await;
    for file in files() {
        if std::env::var_os("TANDEM_SLT_RECORD").is_some() {
            record(&comparison, &file).await;
        }
        for record in records(&file).into_iter().filter(|record| !record.is_comment()) {
            let at = format!("{}:{}: {}", file.display(), record.line, record.sql);
            match comparison.expected(&record.sql).await {
                Ok((schema, batches)) if record.is_query() => {
                    assert_eq!(record.answer(&schema, &batches), record.expected(), "{at}");
                }
                outcome => assert_eq!(outcome.is_err(), record.head == ERROR, "{at}"),
            }
        }
    }
}

async fn check_stages(workers: usize, partitions: usize) {
    let comparison = Comparison::start(workers, partitions).await;
    for file in files() {
        for record in records(&file).into_iter().filter(|record| !record.is_comment()) {
            let at = format!("{partitions} partitions: {}:{}: {}", file.display(), record.line, record.sql);
            match comparison.staged(&record.sql).await {
                Ok((schema, batches)) if record.is_query() => {
                    assert_eq!(record.answer(&schema, &batches), record.expected(), "{at}");
                }
                Ok(_) => panic!("not refused with {at}"),
                Err(error) => assert!(record.head == ERROR, "{error} with {at}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_partition_gives_what_is_recorded() {
    check_stages(1, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_partitions_give_what_is_recorded() {
    check_stages(2, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seven_partitions_give_what_is_recorded() {
    check_stages(3, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_partitions_give_what_is_recorded() {
    check_stages(3, 16).await;
}
