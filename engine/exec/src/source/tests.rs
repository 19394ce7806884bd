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
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::statistics::StatisticsContext;
use datafusion::physical_plan::{ExecutionPlan, StatisticsArgs, collect, displayable};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use tandem_proto::v1::{RowCountKind, TaskAttempt};
use tempfile::TempDir;

use super::*;
use crate::error::{PlanError, TaskError};
use crate::scope::TaskScope;
use crate::storage::Storage;

mod alike;
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
async fn a_big_file_is_divided_without_being_read() {
    const TIB: u64 = 1 << 40;
    let fixture = Fixture::new();
    let big = |name: &str, row: &str| {
        fixture.write(name, row.repeat((2 << 20) / row.len()));
        fs::File::options().write(true).open(fixture.path().join(name)).unwrap().set_len(TIB).unwrap();
    };
    big("big.csv", "id,n\n");
    big("big.jsonl", "{\"id\": 1, \"n\": \"two\"}\n");
    let rejecting =
        |spec: SourceSpec| SourceSpec { rejects: Some(fixture.path().join("rejects").display().to_string()), ..spec };
    for (name, spec, counted) in [
        ("big.csv", fixture.spec("big.csv"), true),
        ("big.csv", SourceSpec { quote: Some(String::new()), ..fixture.spec("big.csv") }, false),
        ("big.jsonl", fixture.spec("big.jsonl"), false),
        ("big.jsonl", rejecting(fixture.spec("big.jsonl")), true),
    ] {
        let context = fixture.context(5);
        context.register_table("t", open_source(&spec, &fixture.storage, &context).await.unwrap().table).unwrap();
        let path = fixture.path().join(name);
        fs::rename(&path, path.with_extension("gone")).unwrap();
        let plan = context.sql("SELECT n FROM t").await.unwrap().create_physical_plan().await.unwrap();
        fs::rename(path.with_extension("gone"), &path).unwrap();
        assert_eq!(plan.properties().partitioning.partition_count(), 5);
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let counts = format!("CountRecordsExec: source=t, files=1, ranges=5, bytes={TIB}");
        assert_eq!(shown.contains(&counts), counted, "{shown}");
        assert_eq!(shown.contains("CountRecordsExec"), counted, "{shown}");
    }
}

/// The rows of the only scan of `plan`, of which every file is cut into `pieces`, and the lines of the rejects.
async fn rows_and_lines(fixture: &Fixture, spec: &SourceSpec, pieces: u64) -> (Result<String, TaskError>, Vec<u64>) {
    let plan = fixture.plan(spec, "SELECT * FROM t", 1).await.unwrap();
    let scan = plan.downcast_ref::<ScanExec>().unwrap().in_pieces(pieces);
    let (rows, scope) = fixture.run(Arc::new(CoalescePartitionsExec::new(Arc::new(scan)))).await;
    let mut lines = Vec::new();
    for staged in scope.files() {
        for reject in fs::read_to_string(&staged.staged_path).unwrap().lines() {
            lines.push(serde_json::from_str::<serde_json::Value>(reject).unwrap()["line"].as_u64().unwrap());
        }
    }
    lines.sort_unstable();
    let sorted = |rows: Vec<RecordBatch>| {
        let shown = pretty_format_batches(&rows).unwrap().to_string();
        let mut rows: Vec<&str> = shown.lines().collect();
        rows.sort_unstable();
        rows.join("\n")
    };
    (rows.map(sorted), lines)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pieces_have_the_rows_and_lines_of_the_whole(
        csv in "(\u{feff})?a,n\r?\n([ab,]|\"|\"\"|\n|\r\n|,\"|\"\n|\",|x,1\n|\"long\nand\nlong\nand\nlong\",2\r\n){0,40}",
        json in "(\u{feff})?(\\{\"n\":1\\}|\n|\r\n|x|\\{\"n\":\"two\",\"a\":\"\\\\n\"\\}\n){0,30}",
        null: bool,
    ) {
        let fixture = Fixture::new();
        fixture.write("in.csv", &csv);
        fixture.write("in.jsonl", format!("{json}\n{{\"n\":2,\"a\":\"b\"}}\n"));
        let test = async {
            for name in ["in.csv", "in.jsonl"] {
                let spec = SourceSpec {
                    schema: Some("a string, n bigint".into()),
                    on_bad_row: Some(if null { OnBadRow::Null } else { OnBadRow::Reject }),
                    rejects: (!null).then(|| fixture.path().join("rejects").display().to_string()),
                    ..fixture.spec(name)
                };
                let (rows, lines) = rows_and_lines(&fixture, &spec, 1).await;
                for pieces in [2, 7] {
                    let (cut, cut_lines) = rows_and_lines(&fixture, &spec, pieces).await;
                    prop_assert_eq!(cut.as_ref().unwrap(), rows.as_ref().unwrap(), "{} in {}", name, pieces);
                    prop_assert_eq!(&cut_lines, &lines, "{} in {}", name, pieces);
                }
            }
            Ok(())
        };
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test)?;
    }
}

#[tokio::test]
async fn the_line_of_a_bad_row_is_told_whatever_the_pieces() {
    let fixture = Fixture::new();
    fixture.write("a.csv", format!("n\n{}oops\n", "\"1\"\n".repeat(100)));
    fixture.write("b.csv", format!("n\n{}oops\n", "1\n".repeat(100)));
    fixture.write("c.jsonl", format!("\n{}{{\"n\": \"oops\"}}\n", "{\"n\": 1}\r\n".repeat(100)));
    for (name, quote) in [("a.csv", None), ("b.csv", Some(String::new())), ("c.jsonl", None)] {
        let spec = SourceSpec { schema: Some("n bigint".into()), quote, ..fixture.spec(name) };
        for pieces in [1, 2, 7] {
            let error = rows_and_lines(&fixture, &spec, pieces).await.0.unwrap_err();
            assert!(
                matches!(&error, TaskError::Fatal(message) if message.contains(&format!("{name}:102: "))),
                "{error}"
            );
        }
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
async fn a_first_record_longer_than_the_sample_tells_the_columns() {
    let fixture = Fixture::new();
    let (name, text) = ("x".repeat(100_000), "x".repeat(3 << 20));
    fixture.write("in/a.csv", format!("id,{name}\n1,2\n"));
    fixture.write("in/b.csv", format!("{name},id\n4,2\n"));
    let objects = [format!("{{\"id\":1,\"x\":\"{text}\"}}"), "{\"id\":2}".to_owned()];
    fixture.write("a.jsonl", objects.join("\n"));
    fixture.write("b.jsonl.gz", gzip(&objects.join("\n")));
    fixture.write("c.json", format!("[{}]", objects.join(",")));
    for path in ["in", "a.jsonl", "b.jsonl.gz", "c.json"] {
        assert_eq!(fixture.rows(&fixture.spec(path), "SELECT sum(id) FROM t").await, "|3|", "{path}");
    }
}

#[tokio::test]
async fn keys_of_every_json_file_are_columns() {
    let fixture = Fixture::new();
    for name in ["in/1.jsonl", "in/1.json"] {
        fixture.write(name, "{\"a\":1,\"o\":{\"x\":1}}\n");
    }
    fixture.write("in/2.jsonl", "{\"a\":2.5,\"late\":3}\n{\"o\":{\"y\":\"z\"}}\n");
    fixture.write("in/2.json", "[{\"a\":2.5,\"late\":3},{\"o\":{\"y\":\"z\"}}]");
    for path in ["in/*.jsonl", "in/*.json"] {
        let rows = fixture.rows(&fixture.spec(path), "SELECT a, o['x'], o['y'], late FROM t ORDER BY a").await;
        assert_eq!(rows, "|1.0|1|||\n|2.5|||3|\n|||z||", "{path}");
    }
    // No object need have a key.
    fixture.write("none.jsonl", "\n");
    for (path, rows) in [("none.jsonl", "|0|0|"), ("in/1.jsonl", "|1|0|")] {
        let spec = SourceSpec { schema: Some("a int, refund double".into()), ..fixture.spec(path) };
        assert_eq!(fixture.rows(&spec, "SELECT count(a), count(refund) FROM t").await, rows);
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
    for path in ["out", "out/*/*", "b.arrow"] {
        let declared = |schema: &str| SourceSpec { schema: Some(schema.into()), ..fixture.spec(path) };
        let error = fixture.refused(&declared("n bigint, it string")).await;
        assert!(error.contains("column `it` is not in ") && error.contains("did you mean `id`?"), "{path}: {error}");
    }
    // Files that were written over time need not all have it.
    let target = fixture.path().join("out/day=2024-01-02/later.parquet");
    let copy = format!("COPY (SELECT id, n, 'x' AS late FROM t) TO '{}' STORED AS PARQUET", target.display());
    context.sql(&copy).await.unwrap().collect().await.unwrap();
    let spec = SourceSpec { schema: Some("id string, late string".into()), ..fixture.spec("out/*/*") };
    assert_eq!(fixture.rows(&spec, "SELECT count(*), count(late) FROM t").await, "|6|2|");
    fixture.write("bad.parquet", "no parquet at all");
    let error = fixture.refused(&fixture.spec("bad.parquet")).await;
    assert!(error.contains("bad.parquet"), "{error}");
}

#[tokio::test]
async fn files_of_column_folders_are_read_whatever_their_names() {
    let fixture = Fixture::new();
    fixture.write("a.csv", "id,n\nx,1\ny,2\n");
    let context = fixture.context(1);
    let table = open_source(&fixture.spec("a.csv"), &fixture.storage, &context).await.unwrap().table;
    context.register_table("t", table).unwrap();
    for format in ["parquet", "arrow"] {
        let made = fixture.path().join(format!("made.{format}"));
        let copy = format!("COPY (SELECT * FROM t) TO '{}' STORED AS {format}", made.display());
        context.sql(&copy).await.unwrap().collect().await.unwrap();
    }
    let (parquet, arrow) = (fs::read(fixture.path().join("made.parquet")), fs::read(fixture.path().join("made.arrow")));
    for (name, content) in [
        ("p/day=2024-01-01/A.PARQUET", parquet.as_ref().unwrap()),
        ("p/day=2024-01-02/000000_0", parquet.as_ref().unwrap()),
        ("p/day=__HIVE_DEFAULT_PARTITION__/c.parquet", parquet.as_ref().unwrap()),
        ("f/part=1/x.feather", arrow.as_ref().unwrap()),
        ("f/part=2/y.arrow", arrow.as_ref().unwrap()),
    ] {
        fixture.write(name, content);
    }
    fixture.write("p/day=2024-01-03/notes.txt", "no data");
    fixture.write("p/day=2024-01-01/empty.parquet", "");
    let by_day = "SELECT day, count(*), count(day) FROM t GROUP BY day ORDER BY day";
    let spec = SourceSpec { format: Some(SourceFormat::Parquet), ..fixture.spec("p") };
    assert_eq!(fixture.rows(&spec, by_day).await, "|2024-01-01|2|2|\n|2024-01-02|2|2|\n||2|0|");
    assert_eq!(fixture.rows(&fixture.spec("p"), by_day).await, "|2024-01-01|2|2|\n||2|0|");
    let sql = "SELECT part, sum(n) FROM t WHERE part < 2 GROUP BY part";
    assert_eq!(fixture.rows(&fixture.spec("f"), sql).await, "|1|3|");

    let plan =
        fixture.plan(&spec, "SELECT id, day FROM t WHERE day IS NULL OR day > DATE '2024-01-01'", 2).await.unwrap();
    let bytes = crate::codec::encode_stage(&plan, None).unwrap();
    let task = fixture.context(2).task_ctx();
    let plan = crate::codec::decode_stage(&bytes, &task).unwrap().plan;
    let rows = collect(plan, task).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    assert_eq!(rows.iter().map(|batch| batch.column(1).null_count()).sum::<usize>(), 2);
}

#[tokio::test]
async fn text_files_below_column_folders_have_their_columns() {
    let fixture = Fixture::new();
    fixture.write("in/day=2024-01-01/k=1/a.csv", "id,n\nx,1\ny,2\n");
    fixture.write("in/day=2024-01-02/k=__HIVE_DEFAULT_PARTITION__/b.csv.gz", gzip("n,id\n3,z\n"));
    let sql = "SELECT day, k, id, n FROM t ORDER BY n DESC";
    let rows = "|2024-01-02||z|3|\n|2024-01-01|1|y|2|\n|2024-01-01|1|x|1|";
    assert_eq!(fixture.rows(&fixture.spec("in"), sql).await, rows);
    assert_eq!(
        fixture.rows(&fixture.spec("in"), "SELECT k, count(*) FROM t GROUP BY k ORDER BY k").await,
        "|1|2|\n||1|"
    );
    assert_eq!(fixture.rows(&fixture.spec("in"), "SELECT * FROM t WHERE n = 1").await, "|x|1|2024-01-01|1|");
    let schema = Some("k string, n int, id string not null".to_owned());
    let spec = SourceSpec { schema: schema.clone(), ..fixture.spec("in") };
    assert_eq!(
        fixture.rows(&spec, "SELECT k || '!', n, day FROM t WHERE n < 3 ORDER BY n").await,
        "|1!|1|2024-01-01|\n|1!|2|2024-01-01|"
    );
    fixture.write("bare/k=7/a.csv", "1,x\n");
    let spec = SourceSpec { header: Some(false), schema, ..fixture.spec("bare") };
    assert_eq!(fixture.rows(&spec, "SELECT * FROM t").await, "|7|1|x|");
    let spec = SourceSpec { schema: Some("id string, day int".into()), ..fixture.spec("in") };
    let error = fixture.refused(&spec).await;
    assert!(
        error.contains("`2024-01-01` is not a valid int") && error.contains("in/day=2024-01-01/k=1/a.csv"),
        "{error}"
    );

    // What the files say themselves is not what their folders say.
    fixture.write("own/k=1/a.csv", "K,n\n5,1\n");
    fixture.write("own/k=2/a.csv", "K,n\n6,2\n");
    assert_eq!(fixture.rows(&fixture.spec("own"), "SELECT sum(\"K\") FROM t").await, "|11|");
    for (name, content) in [("j/k=a/a.jsonl", r#"{"n":1}"#), ("j/k=b/b.jsonl", r#"{"n":2,"k":"own"}"#)] {
        fixture.write(name, content);
    }
    assert_eq!(fixture.rows(&fixture.spec("j"), "SELECT k, n FROM t ORDER BY n").await, "|a|1|\n|b|2|");
}

#[tokio::test]
async fn bad_rows_below_column_folders_are_rejected_with_their_file() {
    let fixture = Fixture::new();
    fixture.write("in/k=1/a.csv", "n\n1\nx\n");
    fixture.write("in/k=2/a.csv", "n\n3\n");
    let rejects = Some(fixture.path().join("rejects").to_string_lossy().into_owned());
    let spec = SourceSpec { schema: Some("n int".into()), rejects, ..fixture.spec("in") };
    let plan = fixture.plan(&spec, "SELECT k FROM t ORDER BY k", 2).await.unwrap();
    let (rows, scope) = fixture.run(plan).await;
    assert_eq!(shown(&rows.unwrap()), "|1|\n|2|");
    let staged = scope.files();
    let reject: serde_json::Value = serde_json::from_slice(&fs::read(&staged[0].staged_path).unwrap()).unwrap();
    assert_eq!((reject["line"].as_u64(), reject["column"].as_str()), (Some(3), Some("n")));
    assert!(reject["file"].as_str().unwrap().ends_with("in/k=1/a.csv"));
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
    fixture.write("a.jsonl", "{\"event_id\":\"x\"}\n{\"quantity\":1}\n");
    fixture.write("none.json", " [\n]\n");
    fixture.write("pretty.json", "{\n \"a\": 1,\n \"b\": 2\n}\n");
    fixture.write("pretty.jsonl", "\u{feff}{ \"a\": 1,\r\n \"b\": 2}\r\n");
    fixture.write("mac.csv", "a,b\r1,x\r");
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
        (
            SourceSpec { path: Paths::One("a.jsonl".into()), ..with_schema("event_id string, quantiy int") },
            "column `quantiy` is in no object of the sample",
        ),
        (SourceSpec { path: Paths::One("a.jsonl".into()), ..with_schema("quantiy int") }, "did you mean `quantity`?"),
        (fixture.spec("none.csv"), "the input is empty"),
        (fixture.spec("blank.csv"), "the input is empty"),
        (fixture.spec("open.csv"), "the first record does not end"),
        (fixture.spec("none.json"), "the input is an empty array"),
        (fixture.spec("pretty.json"), "an object goes over several lines"),
        (fixture.spec("pretty.jsonl"), "an object goes over several lines"),
        (fixture.spec("mac.csv"), "its lines end in CR alone"),
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
    fixture.write("in/k=1/a.csv", "id,n,x\na,1,\nb,2,\n");
    let plan = fixture.plan(&fixture.spec("in"), "SELECT n, k, id FROM t LIMIT 1", 2).await.unwrap();
    let mut leaf = plan.clone();
    while let Some(child) = leaf.children().first().map(|child| Arc::clone(child)) {
        leaf = child;
    }
    let scan = leaf.downcast_ref::<ScanExec>().unwrap();
    assert_eq!(scan.fetch(), Some(1));
    let statistics = StatisticsContext::new().compute(scan, &StatisticsArgs::new()).unwrap();
    assert_eq!(statistics.num_rows, Precision::Inexact(1));
    let bytes = scan.to_bytes().unwrap();
    let copy = ScanExec::from_bytes(&bytes, &[]).unwrap();
    assert_eq!(copy.schema(), scan.schema());
    let rows = collect(Arc::new(copy), fixture.context(1).task_ctx()).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let cut = scan.in_pieces(3);
    let counts = Arc::clone(cut.children()[0].children()[0]);
    let count = counts.downcast_ref::<CountRecordsExec>().unwrap().to_bytes().unwrap();
    let copy = CountRecordsExec::from_bytes(&count).unwrap();
    assert_eq!(displayable(&copy).one_line().to_string(), displayable(counts.as_ref()).one_line().to_string());
    let cut = cut.to_bytes().unwrap();
    assert!(ScanExec::from_bytes(&cut, &[]).is_err(), "a scan of pieces needs to know where records begin");
    hostile(&bytes, |bytes| drop(ScanExec::from_bytes(bytes, &[])));
    hostile(&cut, |bytes| drop(ScanExec::from_bytes(bytes, std::slice::from_ref(&counts))));
    hostile(&count, |bytes| drop(CountRecordsExec::from_bytes(bytes)));
}

/// Gives `decode` bytes that are nearly those that it understands.
fn hostile(bytes: &[u8], decode: impl Fn(&[u8])) {
    for cut in 0..bytes.len() {
        decode(&bytes[..cut]);
        let mut flipped = bytes.to_vec();
        flipped[cut] ^= 0x55;
        decode(&flipped);
    }
}
