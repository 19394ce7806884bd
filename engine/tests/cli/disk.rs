//! A disk that is full where a job writes, where workers spill, or where the journal is: one clear line, no hang,
//! nothing broken, and the next run is well once there is room.

use crate::support::small_disk::SmallDisk;
use crate::support::{Finished, Sandbox, files_below};

/// Numbers to a CSV sink.
const NUMBERS: &str = r#"
name = "numbers"
[params]
count = 100
output = "out"
[[step]]
name = "numbers"
sql = "SELECT value FROM generate_series(1, ${count})"
[[sink]]
from = "numbers"
path = "${output}"
format = "csv"
mode = "overwrite"
"#;

#[test]
fn a_full_disk_under_a_sink() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let sandbox = Sandbox::with_cluster(2);
    sandbox.write("numbers.toml", NUMBERS);
    let output = format!("output={}", disk.path().join("out").display());
    let submit = |count: &str| {
        sandbox.run(&["job", "submit", "numbers.toml", "--set", &output, "--set", &format!("count={count}")])
    };
    submit("100").succeeded();
    let before = files_below(disk.path());
    submit("1000000").ended_with(1).tells(&["No space left", "out", "worker", "help: "]);
    assert_eq!(files_below(disk.path()), before, "the old output is whole and the new one is gone");
    submit("200").succeeded();
}

#[test]
fn a_full_disk_under_the_rows_of_a_statement() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let sandbox = Sandbox::new();
    let output = disk.path().join("rows.csv").display().to_string();
    let rows = |count: u32| {
        let sql = format!("SELECT value FROM generate_series(1, {count})");
        sandbox.run(&["sql", "--local", "-e", &sql, "--output", &output])
    };
    rows(100).succeeded();
    rows(1_000_000).ended_with(1).tells(&["cannot write", "rows.csv", "No space left"]);
    assert_eq!(std::fs::read_to_string(&output).expect("the rows").lines().count(), 101, "the old rows are whole");
    assert_eq!(files_below(disk.path()).len(), 1, "nothing is left of the new ones");
}

#[test]
fn a_full_disk_under_spilled_rows() {
    let Some(disk) = SmallDisk::mount(24 << 10) else { return };
    let sandbox = Sandbox::inside(disk.path());
    sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "96MiB"]).succeeded();
    let count = |rows: u32| {
        let sql = format!(
            "SELECT count(*) AS n FROM (SELECT value, row_number() OVER (ORDER BY value * 7 % 1000003, value) AS place
             FROM generate_series(1, {rows})) WHERE value <> place"
        );
        sandbox.run(&["sql", "-e", &sql, "-o", "csv"])
    };
    count(8_000_000).ended_with(1).tells(&["no space left for spilling", "worker", "help: "]);
    assert_eq!(count(1000).succeeded().stdout, "n\n0\n");
}

#[test]
fn a_full_disk_under_the_logs() {
    let Some(disk) = SmallDisk::mount(24 << 10) else { return };
    let sandbox = Sandbox::inside(disk.path());
    let mut up = sandbox.command(&["cluster", "up", "--workers", "1", "--memory", "96MiB"]);
    Finished::of(up.env("TANDEM_LOG", "debug")).succeeded();
    let before = sandbox.processes();
    disk.fill();
    for _ in 0..10 {
        assert_eq!(sandbox.run(&["sql", "-e", "SELECT 1 AS n", "-o", "csv"]).succeeded().stdout, "n\n1\n");
    }
    assert_eq!(sandbox.processes(), before, "none had to be restarted");
}

#[test]
fn a_full_disk_under_the_journal() {
    let Some(disk) = SmallDisk::mount(24 << 10) else { return };
    let sandbox = Sandbox::inside(disk.path());
    sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "256MiB"]).succeeded();
    let outside = Sandbox::new();
    let output = format!("output={}", outside.work().display());
    let submit = || sandbox.run(&["job", "submit", "sales", "--set", &output]);
    submit().succeeded();
    let before = outside.read("spark_output.json");
    disk.fill();
    // A small record may still find room in the journal's own free pages.
    let large = format!("FILLER={}", "x".repeat(100_000));
    let refused = sandbox.run(&["job", "submit", "sales", "--set", &output, "--env", &large]);
    refused.ended_with(1).tells(&["no space left", "journal"]);
    assert_eq!(outside.read("spark_output.json"), before);
    disk.make_room();
    submit().succeeded();
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let states: Vec<_> = jobs.as_array().expect("jobs").iter().map(|job| &job["state"]).collect();
    assert!(states.iter().all(|state| **state != "RUNNING"), "{states:?}");
    assert_eq!(states.iter().filter(|state| ***state == "SUCCEEDED").count(), 2, "{states:?}");
}
