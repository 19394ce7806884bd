//! Sources through their public door: files on disk, SQL over them, what is counted and rejected.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::stats::Precision;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, collect};
use datafusion::prelude::{SessionConfig, SessionContext};
use tandem_proto::v1::{RowCountKind, TaskAttempt};
use tempfile::TempDir;

use super::*;
use crate::error::{PlanError, TaskError};
use crate::scope::TaskScope;
use crate::storage::Storage;

mod s3;

struct Fixture {
    folder: TempDir,
    storage: Arc<Storage>,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), storage: Arc::new(Storage::new(BTreeMap::new())) }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn spec(&self, path: &str) -> SourceSpec {
        SourceSpec { base_dir: self.path().to_owned(), ..SourceSpec::new("t", path) }
    }

    fn context(&self, partitions: usize) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(1000);
        SessionContext::new_with_config_rt(config, self.storage.runtime(&RuntimeEnv::default()))
    }

    async fn plan(&self, spec: &SourceSpec, sql: &str, partitions: usize) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
        let context = self.context(partitions);
        context.register_table("t", open_source(spec, &self.storage, &context).await?.table)?;
        Ok(context.sql(sql).await?.create_physical_plan().await?)
    }

    async fn rows(&self, spec: &SourceSpec, sql: &str) -> String {
        let plan = self.plan(spec, sql, 3).await.unwrap();
        shown(&collect(plan, self.context(3).task_ctx()).await.unwrap())
    }

    /// Runs `plan` as a task and gives its rows with what the task counted and staged.
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> (Result<Vec<RecordBatch>, TaskError>, Arc<TaskScope>) {
        let attempt = TaskAttempt { job: 7, stage: 1, task: 0, attempt: 0 };
        let scope = Arc::new(TaskScope::new(attempt, self.storage.clone()));
        let config = scope.clone().attach(SessionConfig::new().with_batch_size(1000));
        let context = SessionContext::new_with_config_rt(config, self.storage.runtime(&RuntimeEnv::default()));
        let rows = collect(plan, context.task_ctx()).await.map_err(TaskError::from);
        (rows, scope)
    }

    async fn refused(&self, spec: &SourceSpec) -> String {
        let context = self.context(2);
        let error = open_source(spec, &self.storage, &context).await.expect_err("it is refused");
        match &error {
            PlanError::Invalid { message, help } => format!("{message} | {}", help.clone().unwrap_or_default()),
            other => other.to_string(),
        }
    }
}

fn shown(batches: &[RecordBatch]) -> String {
    let text = pretty_format_batches(batches).unwrap().to_string();
    let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
    rows.map(|row| row.split_whitespace().collect::<String>()).collect::<Vec<_>>().join("\n")
}

fn gzip(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn csv_files_are_one_table_whatever_their_column_order_and_compression() {
    let fixture = Fixture::new();
    fixture.write("in/a.csv", "id,n,at\nx,1,2024-01-01\ny,2,\n");
    fixture.write("in/b.csv.gz", gzip("n,extra,at,id\r\n3,e,2024-01-03,\"z\nz\"\r\n"));
    fixture.write("in/c.csv.zst", zstd::encode_all(&b"id,n,at\nw,4,2024-01-04"[..], 1).unwrap());
    fixture.write("in/empty.csv", "");
    fixture.write("in/README.md", "# not data");
    let sql = "SELECT at, sum(n) AS n, count(*) AS rows FROM t GROUP BY at ORDER BY at";
    let rows = fixture.rows(&fixture.spec("in"), sql).await;
    assert_eq!(rows, "|2024-01-01|1|1|\n|2024-01-03|3|1|\n|2024-01-04|4|1|\n||2|1|");
    let rows = fixture.rows(&fixture.spec("in/*.csv"), "SELECT count(*) FROM t").await;
    assert_eq!(rows, "|2|");
}

#[tokio::test]
async fn delimiters_quotes_and_headers_can_be_set() {
    let fixture = Fixture::new();
    fixture.write("a.tsv", "id\tn\n'x\ty'\t1\n");
    fixture.write("b.txt", "x;1\n\"y\";2\n");
    let spec = SourceSpec { quote: Some("'".into()), ..fixture.spec("a.tsv") };
    assert_eq!(fixture.rows(&spec, "SELECT n, length(id) FROM t").await, "|1|3|");
    let spec = SourceSpec {
        format: Some(SourceFormat::Csv),
        delimiter: Some(';'),
        quote: Some(String::new()),
        header: Some(false),
        ..fixture.spec("b.txt")
    };
    assert_eq!(fixture.rows(&spec, "SELECT column_2, column_1 FROM t ORDER BY 1").await, "|1|x|\n|2|\"y\"|");
    let spec = SourceSpec { schema: Some("id string, n int not null".into()), ..spec };
    assert_eq!(fixture.rows(&spec, "SELECT sum(n) FROM t").await, "|3|");
}

/// Rows with quoted delimiters, quotes and line ends, some of them bad, and the lines the bad ones are on.
fn dirty_csv(rows: usize) -> (String, Vec<u64>) {
    let (mut text, mut bad, mut line) = (String::from("id,n,note\n"), Vec::new(), 2);
    for n in 0..rows {
        let note = match n % 5 {
            0 => "plain text of some length to fill the file".to_owned(),
            1 => format!("\"quoted, with \"\"quotes\"\" {n}\""),
            2 => "\"over\ntwo lines, and\nthree\"".to_owned(),
            3 => "stray \" quote".to_owned(),
            _ => String::new(),
        };
        let number = if n % 97 == 13 { "oops".to_owned() } else { n.to_string() };
        if n % 97 == 13 {
            bad.push(line);
        }
        writeln!(text, "row-{n},{number},{note}").unwrap();
        line += if n % 5 == 2 { 3 } else { 1 };
    }
    (text, bad)
}

#[tokio::test]
async fn a_big_file_is_split_with_exact_rows_lines_and_counts() {
    let fixture = Fixture::new();
    let (text, bad_lines) = dirty_csv(250_000);
    fixture.write("big.csv", &text);
    let spec = SourceSpec {
        schema: Some("id string not null, n bigint, note string".into()),
        rejects: Some(fixture.path().join("rejects").to_string_lossy().into_owned()),
        ..fixture.spec("big.csv")
    };
    for partitions in [1, 2, 4] {
        let plan = fixture.plan(&spec, "SELECT n FROM t", partitions).await.unwrap();
        assert_eq!(plan.properties().partitioning.partition_count(), partitions, "{} bytes", text.len());
        let (rows, scope) = fixture.run(plan).await;
        let mut numbers: Vec<i64> =
            rows.unwrap().iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        numbers.sort_unstable();
        let expected: Vec<i64> = (0..250_000).filter(|n| n % 97 != 13).collect();
        assert!(numbers == expected, "{partitions} partitions give {} rows", numbers.len());

        let count = |kind: RowCountKind| {
            let counts = scope.counts();
            let found = counts.iter().find(|count| count.kind == kind as i32).cloned().unwrap();
            (found.rows, found.bytes)
        };
        assert_eq!(count(RowCountKind::Read), (250_000, text.len() as u64));
        assert_eq!(count(RowCountKind::Rejected).0, bad_lines.len() as u64);

        let mut lines = Vec::new();
        for staged in scope.files() {
            for reject in fs::read_to_string(&staged.staged_path).unwrap().lines() {
                let reject: serde_json::Value = serde_json::from_str(reject).unwrap();
                assert_eq!(reject["column"], "n");
                assert_eq!(reject["reason"], "`oops` is not a valid bigint");
                assert_eq!(reject["file"], fixture.path().join("big.csv").to_str().unwrap());
                assert!(reject["raw"].as_str().unwrap().contains(",oops,"));
                lines.push(reject["line"].as_u64().unwrap());
            }
        }
        lines.sort_unstable();
        assert_eq!(lines, bad_lines, "{partitions} partitions");
    }
}

#[tokio::test]
async fn a_bad_row_fails_the_task_or_becomes_nulls_as_asked() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "id,n\nx,1\ny,oops\nz\n");
    let schema = Some("id string not null, n int not null".to_owned());
    let spec = SourceSpec { schema: schema.clone(), ..fixture.spec("a.csv") };
    let plan = fixture.plan(&spec, "SELECT * FROM t", 1).await.unwrap();
    let error = fixture.run(plan).await.0.unwrap_err();
    let TaskError::Fatal(message) = &error else { panic!("{error:?}") };
    assert!(
        message.contains("column `n`: `oops` is not a valid int") && message.contains("a.csv:3: y,oops"),
        "{message}"
    );
    let spec = SourceSpec { on_bad_row: Some(OnBadRow::Null), ..spec };
    assert_eq!(fixture.rows(&spec, "SELECT id, n FROM t ORDER BY id").await, "|x|1|\n|y||\n|z||");
}

#[tokio::test]
async fn json_lines_arrays_and_compressed_files_give_the_same_rows() {
    let fixture = Fixture::new();
    let rows: Vec<String> = (0..5_000)
        .map(|n| {
            format!(
                r#"{{"id":"r{n}","n":{n},"price":{}.5,"tags":["a","b{n}"],"at":"2024-01-01T00:00:0{}Z"}}"#,
                n % 7,
                n % 10
            )
        })
        .collect();
    fixture.write("a.jsonl", rows.join("\n"));
    fixture.write("b.json", format!("[\n{}\n]", rows.join(",\n")));
    fixture.write("c.ndjson.gz", gzip(&rows.join("\r\n")));
    fixture.write("d.json.zst", zstd::encode_all(format!("[{}]", rows.join(",")).as_bytes(), 1).unwrap());
    let sql = "SELECT count(*), sum(n), sum(price), max(at), max(tags[2]), count(DISTINCT id) FROM t";
    for name in ["a.jsonl", "b.json", "c.ndjson.gz", "d.json.zst"] {
        let found = fixture.rows(&fixture.spec(name), sql).await;
        assert_eq!(found, "|5000|12497500|17495.0|2024-01-01T00:00:09|b999|5000|", "{name}");
    }
}

#[tokio::test]
async fn parquet_and_arrow_files_are_tables_too() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "id,n\nx,1\ny,2\n");
    let context = fixture.context(1);
    context
        .register_table("t", open_source(&fixture.spec("a.csv"), &fixture.storage, &context).await.unwrap().table)
        .unwrap();
    for (day, options) in [("2024-01-01", ""), ("2024-01-02", "")] {
        let target = fixture.path().join(format!("out/day={day}/part 1%.parquet"));
        let copy = format!("COPY (SELECT * FROM t) TO '{}' STORED AS PARQUET {options}", target.display());
        context.sql(&copy).await.unwrap().collect().await.unwrap();
    }
    let copy = format!("COPY (SELECT * FROM t) TO '{}' STORED AS ARROW", fixture.path().join("b.arrow").display());
    context.sql(&copy).await.unwrap().collect().await.unwrap();
    let sql = "SELECT day, sum(n) FROM t WHERE day > DATE '2024-01-01' GROUP BY day";
    assert_eq!(fixture.rows(&fixture.spec("out"), sql).await, "|2024-01-02|3|");
    assert_eq!(fixture.rows(&fixture.spec("out/*/*.parquet"), "SELECT count(*) FROM t").await, "|4|");
    assert_eq!(fixture.rows(&fixture.spec("b.arrow"), "SELECT id FROM t ORDER BY n DESC").await, "|y|\n|x|");
    fixture.write("bad.parquet", "no parquet at all");
    let error = fixture.refused(&fixture.spec("bad.parquet")).await;
    assert!(error.contains("bad.parquet"), "{error}");
}

#[tokio::test]
async fn a_parquet_file_that_changed_since_planning_fails_the_task() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "id,n\nx,1\ny,2\n");
    let context = fixture.context(1);
    context
        .register_table("t", open_source(&fixture.spec("a.csv"), &fixture.storage, &context).await.unwrap().table)
        .unwrap();
    let target = fixture.path().join("a.parquet");
    let copy = |sql: &str| format!("COPY ({sql}) TO '{}' STORED AS PARQUET", target.display());
    context.sql(&copy("SELECT * FROM t")).await.unwrap().collect().await.unwrap();
    let plan = fixture.plan(&fixture.spec("a.parquet"), "SELECT id FROM t", 1).await.unwrap();
    pin_file_scans(&plan, &fixture.storage);
    let unchanged = fixture.plan(&fixture.spec("a.parquet"), "SELECT id FROM t", 1).await.unwrap();
    assert_eq!(shown(&fixture.run(unchanged).await.0.unwrap()), "|x|\n|y|");
    context.sql(&copy("SELECT id || id AS id, n FROM t")).await.unwrap().collect().await.unwrap();
    let error = fixture.run(plan).await.0.unwrap_err();
    assert!(error.to_string().contains("input changed"), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_a_table_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "event_id,quantity\nx,1\n");
    fixture.write("none.csv", "");
    fixture.write("blank.csv", "\n\n");
    fixture.write("open.csv", "\"a,b\nc");
    fixture.write("none.jsonl", "\n");
    fixture.write("data", "x");
    let with_schema = |schema: &str| SourceSpec { schema: Some(schema.into()), ..fixture.spec("a.csv") };
    for (spec, expected) in [
        (with_schema("event_id string, quantiy int"), "column `quantiy` is not in the header"),
        (with_schema("event_id string, quantiy int"), "did you mean `quantity`?"),
        (
            with_schema("event_id strin"),
            "source `t`: schema: column `event_id` has an unknown type `strin`: position 10",
        ),
        (
            SourceSpec { header: Some(false), ..with_schema("event_id string") },
            "the schema has 1 columns and the first record 2",
        ),
        (fixture.spec("none.csv"), "the input is empty"),
        (fixture.spec("blank.csv"), "the input is empty"),
        (fixture.spec("open.csv"), "the first record does not end"),
        (fixture.spec("none.jsonl"), "no object to learn columns from"),
        (fixture.spec("data"), "cannot tell the format"),
        (fixture.spec("nope.csv"), "no such file or folder"),
        (SourceSpec { on_bad_row: Some(OnBadRow::Reject), ..fixture.spec("a.csv") }, "needs a folder for the rejects"),
    ] {
        let error = fixture.refused(&spec).await;
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn a_scan_survives_the_wire_and_hostile_bytes_do_not_panic() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "id,n,x\na,1,\nb,2,\n");
    let plan = fixture.plan(&fixture.spec("a.csv"), "SELECT n, id FROM t LIMIT 1", 2).await.unwrap();
    let mut leaf = plan.clone();
    while let Some(child) = leaf.children().first().map(|child| Arc::clone(child)) {
        leaf = child;
    }
    let scan = leaf.downcast_ref::<ScanExec>().unwrap();
    assert_eq!(scan.fetch(), Some(1));
    let statistics = StatisticsContext::new().compute(scan, &StatisticsArgs::new()).unwrap();
    assert_eq!(statistics.num_rows, Precision::Inexact(1));
    let bytes = scan.to_bytes().unwrap();
    let copy = ScanExec::from_bytes(&bytes).unwrap();
    assert_eq!(copy.schema(), scan.schema());
    let rows = collect(Arc::new(copy), fixture.context(1).task_ctx()).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    for cut in 0..bytes.len() {
        let _ = ScanExec::from_bytes(&bytes[..cut]);
        let mut flipped = bytes.clone();
        flipped[cut] ^= 0x55;
        let _ = ScanExec::from_bytes(&flipped);
    }
}
