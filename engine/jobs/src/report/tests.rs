use std::collections::BTreeMap;

use tandem_proto::v1::{JobFailure, JobState, RowCount, RowCountKind, StageStatus};

use super::*;
use crate::job_file::Removes;
use crate::planned::{ReportSink, ReportSource, ReportStep};

fn count(kind: RowCountKind, name: &str, rows: u64, bytes: u64) -> RowCount {
    RowCount { name: name.to_owned(), kind: kind as i32, rows, bytes }
}

fn step(name: &str, input: Option<&str>, removes: Removes) -> ReportStep {
    let checks = if name == "enriched" { vec!["revenue >= 0".to_owned()] } else { Vec::new() };
    let warnings = if name == "daily" { vec!["sum > 0".to_owned(), "sum < 9".to_owned()] } else { Vec::new() };
    ReportStep { name: name.to_owned(), input: input.map(str::to_owned), removes, checks, warnings }
}

fn spec() -> ReportSpec {
    let source = |name: &str| ReportSource {
        name: name.to_owned(),
        paths: vec![format!("/in/{name}.csv")],
        uncounted_bytes: None,
        scans: 1,
    };
    let sink = |name: &str, from: &str| ReportSink {
        name: name.to_owned(),
        from: from.to_owned(),
        path: format!("/out/{name}"),
    };
    ReportSpec {
        folder: None,
        params: vec![("output".to_owned(), "/out".to_owned())],
        sources: vec![source("events"), source("products")],
        steps: vec![
            step("cleaned", Some("events"), Removes::Dropped),
            step("deduplicated", Some("cleaned"), Removes::Deduplicated),
            step("enriched", Some("deduplicated"), Removes::Dropped),
            step("daily", None, Removes::Dropped),
        ],
        sinks: vec![sink("curated", "enriched"), sink("aggregates", "daily")],
    }
}

fn status() -> JobStatus {
    JobStatus {
        job: 7,
        name: "events".to_owned(),
        state: JobState::Succeeded as i32,
        submitted_ms: 1_767_225_600_000,
        ended_ms: 1_767_225_602_500,
        counts: vec![
            // Counts of one name may come in several parts.
            count(RowCountKind::Read, "events", 600, 60_000),
            count(RowCountKind::Read, "events", 400, 40_000),
            count(RowCountKind::Read, "products", 10, 100),
            count(RowCountKind::Rejected, "events", 50, 5_000),
            count(RowCountKind::Step, "cleaned", 900, 0),
            count(RowCountKind::Step, "deduplicated", 880, 0),
            count(RowCountKind::Step, "enriched", 880, 0),
            count(RowCountKind::Step, "daily", 30, 0),
            count(RowCountKind::Warned, "daily: sum > 0", 2, 0),
            count(RowCountKind::Worked, "enriched: tokens on cpu, bf16", 3_000, 0),
            count(RowCountKind::Timed, "enriched: tokens on cpu, bf16", 1_500_000, 0),
            count(RowCountKind::Written, "curated", 880, 9_000),
            count(RowCountKind::Written, "aggregates", 30, 300),
        ],
        stages: vec![StageStatus {
            stage: 1,
            name: "scan, aggregate".to_owned(),
            tasks: 4,
            rows: 880,
            started_ms: 1_767_225_600_100,
            ended_ms: 1_767_225_601_100,
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn every_row_read_is_accounted_for() {
    let summary = Summary::new(&status(), &spec());
    assert_eq!(summary.flows.len(), 1);
    assert_eq!((summary.flows[0].source.as_str(), summary.flows[0].sink.as_str()), ("events", "curated"));
    assert!(summary.flows[0].adds_up);
    assert_eq!(summary.rows, Rows { read: 1000, rejected: 50, dropped: 50, deduplicated: 20, written: 880 });
    assert_eq!(summary.read, Transfer { rows: 1010, bytes: 100_100 });
    assert_eq!(summary.written, Transfer { rows: 910, bytes: 9_300 });
    assert_eq!(summary.duration_ms, 2500);
    assert_eq!(
        summary.checks,
        [CheckSummary { step: "enriched".into(), check: "revenue >= 0".into(), passed: Some(true) }]
    );
    let warning = WarningSummary { step: "daily".into(), condition: "sum > 0".into(), rows: 2 };
    assert_eq!(summary.warnings, [warning]);
    let (unit, device) = ("tokens".to_owned(), "cpu, bf16".to_owned());
    let work = WorkSummary { unit, device, count: 3_000, busy_ms: 1_500, per_second: 2_000 };
    assert_eq!(summary.steps.iter().find(|step| step.name == "enriched").map(|step| &step.work), Some(&vec![work]));
    assert_eq!(summary.stages[0].duration_ms, 1000);
}

#[test]
fn what_several_sinks_share_is_counted_once() {
    let mut spec = spec();
    spec.sinks.push(ReportSink { name: "copy".into(), from: "deduplicated".into(), path: "/out/copy".into() });
    let mut status = status();
    status.counts.push(count(RowCountKind::Written, "copy", 880, 9_000));
    let summary = Summary::new(&status, &spec);
    assert!(summary.flows.len() == 2 && summary.flows.iter().all(|flow| flow.adds_up && flow.rows.read == 1000));
    assert_eq!(summary.rows, Rows { read: 1000, rejected: 50, dropped: 50, deduplicated: 20, written: 1760 });
}

#[test]
fn rows_that_went_missing_are_shown() {
    let mut status = status();
    status.counts.retain(|count| count.name != "curated");
    status.counts.push(count(RowCountKind::Written, "curated", 879, 0));
    let summary = Summary::new(&status, &spec());
    assert!(!summary.flows[0].adds_up && !summary.rows.adds_up());
}

/// How the job ends when `check` of `step` is broken.
fn broken(check: &str, step: &str) -> JobStatus {
    let cause = format!("check `{check}` of step `{step}` failed: it has 0 rows");
    let failure = Some(JobFailure { cause, ..Default::default() });
    JobStatus { state: JobState::Failed as i32, failure, ..status() }
}

#[test]
fn a_failure_names_its_check() {
    let summary = Summary::new(&broken("revenue >= 0", "enriched"), &spec());
    assert_eq!(summary.state, "FAILED");
    assert_eq!(summary.checks[0].passed, Some(false));
    assert!(summary.to_markdown().contains("**Failed**: check `revenue >= 0`"));
}

#[test]
fn only_the_check_of_the_step_that_failed_is_broken() {
    let mut spec = spec();
    for step in &mut spec.steps {
        step.checks = vec!["min_rows=1_1".to_owned(), "max_rows = 11".to_owned()];
    }
    let summary = Summary::new(&broken("min_rows = 11", "deduplicated"), &spec);
    let broken = summary.checks.iter().filter(|check| check.passed == Some(false));
    let broken: Vec<_> = broken.map(|check| (check.step.as_str(), check.check.as_str())).collect();
    assert_eq!(broken, [("deduplicated", "min_rows=1_1")]);
}

#[test]
fn a_job_that_did_not_succeed_has_written_nothing() {
    let stopped = JobStatus { state: JobState::Stopped as i32, ..status() };
    for status in [broken("revenue >= 0", "enriched"), stopped] {
        let summary = Summary::new(&status, &spec());
        assert_eq!((summary.written, summary.rows.written), (Transfer::default(), 0));
        assert!(summary.sinks.iter().all(|sink| (sink.rows_written, sink.bytes_written) == (0, 0)));
        assert_eq!(summary.read, Transfer { rows: 1010, bytes: 100_100 });
    }
}

#[tokio::test]
async fn both_forms_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let summary = Summary::new(&status(), &spec());
    summary.write_to(out.to_str().unwrap(), &Storage::new(BTreeMap::new())).await.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(json["rows"]["read"], 1000);
    assert_eq!(json["flows"][0]["deduplicated"], 20);
    assert_eq!(json["state"], "SUCCEEDED");
    let text = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(text.starts_with("# events: SUCCEEDED\n"), "{text}");
    assert!(text.contains("| 1,000 | 50 | 50 | 20 | 880 |"), "{text}");
}
