//! Programs that query files and objects.

use crate::submit;
use crate::support::Sandbox;

#[test]
fn queries_and_tasks_pass_rows_to_each_other() {
    let sandbox = Sandbox::with_cluster(2);
    let sql = "SELECT value FROM generate_series(1, 1000000)";
    sandbox.run(&["sql", "--local", "-e", sql, "--output", "numbers.parquet"]).succeeded();
    let path = sandbox.work().join("numbers.parquet");
    let finished = submit(&sandbox, "tables", &[path.to_str().expect("a UTF-8 path")]).succeeded();
    // The sum of the squares of 3, 6, … 999,999.
    let squares: i64 = (1..=333_333).map(|n| 9 * n * n).sum();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[0], format!("333333 rows, {squares}"));
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    let queries = jobs.as_array().expect("jobs").iter().filter(|job| job["name"] == "a query of tables");
    let ends: Vec<_> = queries.map(|job| job["state"].as_str()).collect();
    assert_eq!(ends, [Some("SUCCEEDED")], "that over the file, but not those over objects");
    assert!(lines[1].starts_with("Returned: ") && lines[1].contains("No field named nothing"), "{}", lines[1]);
    let relative = submit(&sandbox, "tables", &["numbers.parquet"]).ended_with(1);
    assert!(
        relative.stderr.contains("the path of table `numbers` is not absolute: numbers.parquet"),
        "{}",
        relative.stderr
    );
}
