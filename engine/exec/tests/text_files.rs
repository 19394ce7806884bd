//! Big text files over stages: a file is cut by its size, and where its records begin is found out by the workers.

mod support;

use std::fmt::Write as _;
use std::fs;

use support::{Comparison, cells};
use tandem_exec::source::SourceSpec;
use tandem_graph::{StageGraph, StageRole};
use tempfile::TempDir;

const ROWS: usize = 75_000;

/// A table `t` whose only file can be cut into seven pieces.
struct BigFile {
    comparison: Comparison,
    _folder: TempDir,
}

impl BigFile {
    async fn new(name: &str, text: &str, partitions: usize) -> Self {
        assert!(text.len() > 14 << 20, "{} bytes", text.len());
        let folder = TempDir::new().expect("a temporary folder");
        fs::write(folder.path().join(name), text).expect("a file");
        let comparison = Comparison::start(3, partitions).await;
        comparison.add_source(&SourceSpec { base_dir: folder.path().to_owned(), ..SourceSpec::new("t", name) }).await;
        Self { comparison, _folder: folder }
    }

    /// The stages of `sql`, which must give the only row `expected`, as one process does.
    async fn check<const N: usize>(&self, sql: &str, expected: [usize; N]) -> StageGraph {
        self.comparison.check(sql).await;
        let (_, rows) = self.comparison.staged(sql).await.expect("an answer");
        assert_eq!(cells(&rows), [expected.map(|value| value.to_string())], "{sql}");
        self.comparison.plan(sql).await
    }
}

fn csv() -> String {
    let mut text = String::from("id,n,note\r\n");
    for n in 0..ROWS {
        let filler = "x".repeat(140 + n % 70);
        let note = if n % 3 == 0 { format!("\"{n}\n\n\"\"{filler}\"\",\r\n\"") } else { format!("{n}{filler}") };
        write!(text, "{n},{},{note}\r\n", n * 2).expect("a string grows");
    }
    text
}

fn json() -> String {
    let row = |n| format!("{{\"id\": {n}, \"n\": {}, \"note\": \"{}\"}}\n", n * 2, "x".repeat(150 + n % 70));
    (0..ROWS).map(row).collect()
}

/// The number of tasks of each stage that counts records.
fn counting(graph: &StageGraph) -> Vec<u32> {
    let counting = graph.stages.iter().filter(|stage| stage.display.contains("CountRecordsExec"));
    let tasks = counting.map(|stage| {
        assert_eq!((stage.name.as_str(), stage.role.clone()), ("count records", StageRole::Exchange));
        assert!(stage.inputs.is_empty() && stage.deterministic, "{stage:?}");
        stage.partitions
    });
    tasks.collect()
}

#[tokio::test]
async fn records_are_counted_by_a_stage_that_all_scans_of_a_file_read() {
    for partitions in [1, 2, 7] {
        let file = BigFile::new("t.csv", &csv(), partitions).await;
        let counted = if partitions > 1 { vec![partitions as u32] } else { Vec::new() };

        let sql = "SELECT count(*), sum(n), count(DISTINCT note) FROM t";
        let graph = file.check(sql, [ROWS, ROWS * (ROWS - 1), ROWS]).await;
        assert_eq!(counting(&graph), counted);
        let scan = graph.stages.iter().find(|stage| stage.display.contains("ScanExec")).expect("a scan");
        assert_eq!((scan.partitions, scan.inputs.len()), (partitions as u32, counted.len()), "{}", scan.display);
        assert!(scan.name.starts_with("scan"), "{}", scan.name);

        let half = ROWS / 2;
        let sql = "SELECT count(*), sum(a.id), count(b.note) FROM t a JOIN t b ON a.id = b.n";
        let graph = file.check(sql, [half, half * (half - 1), half]).await;
        assert_eq!(counting(&graph), counted, "both sides read the same counts");
    }
}

#[tokio::test]
async fn a_scan_that_is_not_cut_off_counts_in_its_own_task() {
    let file = BigFile::new("t.csv", &csv(), 7).await;
    let sql = "WITH RECURSIVE r AS (
                 SELECT 1 AS k
                 UNION ALL SELECT r.k + 1 FROM r JOIN (SELECT count(*) AS c FROM t) ON c > r.k WHERE r.k < 3
               )
               SELECT sum(k) FROM r";
    let graph = file.check(sql, [6]).await;
    let display: String = graph.stages.iter().map(|stage| stage.display.clone()).collect();
    assert!(display.contains("RecursiveQueryExec") && display.contains("CountRecordsExec"), "{display}");
}

#[tokio::test]
async fn lines_need_no_stage_before_they_are_read() {
    for partitions in [2, 7] {
        let file = BigFile::new("t.jsonl", &json(), partitions).await;
        let sql = "SELECT count(*), sum(n), count(DISTINCT id) FROM t";
        let graph = file.check(sql, [ROWS, ROWS * (ROWS - 1), ROWS]).await;
        assert_eq!(counting(&graph), [0; 0]);
        let scan = graph.stages.iter().find(|stage| stage.display.contains("ScanExec")).expect("a scan");
        assert_eq!((scan.partitions, scan.inputs.len()), (partitions as u32, 0), "{}", scan.display);
    }
}
