//! Steps that run functions, with real processes: who works on them, and what a process that dies costs.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{PATIENCE, Sandbox, kill_if_there};

const JOB: &str = r#"
name = "analysed"
[[source]]
name = "products"
path = "products.parquet"
[[step]]
name = "analysis"
run = "product-analysis"
input = "products"
[[sink]]
from = "analysis"
path = "out"
format = "parquet"
mode = "overwrite"
"#;

/// Writes `rows` products to `file`.
fn write_products(sandbox: &Sandbox, rows: u32, file: &str) {
    let sql = format!(
        "SELECT concat('p', value) AS product, CAST(value % 5000 AS DOUBLE) AS total_revenue, value % 7 AS total_quantity,
                2 AS transaction_count, 1.5 AS avg_quantity
         FROM generate_series(1, {rows})"
    );
    sandbox.run(&["sql", "--local", "-e", &sql, "--output", file]).succeeded();
}

fn tasks(sandbox: &Sandbox, job: &str) -> Vec<Value> {
    let tasks = sandbox.run(&["job", "tasks", job, "-o", "json"]).succeeded().json();
    tasks.as_array().expect("tasks").clone()
}

fn submit(sandbox: &Sandbox, job: &[&str]) -> String {
    let args: Vec<&str> = ["job", "submit"].iter().chain(job).copied().chain(["--no-wait"]).collect();
    sandbox.run(&args).succeeded().stdout.trim().to_owned()
}

#[test]
fn ten_thousand_products_are_analysed_by_all_workers() {
    let sandbox = Sandbox::with_cluster(3);
    write_products(&sandbox, 10_000, "products.json");
    let job = submit(&sandbox, &["sales-analysis", "--set", "input=products.json", "--set", "output=out"]);
    sandbox.run(&["job", "wait", &job]).succeeded();
    let tasks = tasks(&sandbox, &job);
    let analysing = tasks.iter().filter(|task| task["stage_name"] == "product-analysis");
    let workers: BTreeSet<_> = analysing.filter_map(|task| task["worker"].as_str()).collect();
    assert_eq!(workers.len(), 3, "{tasks:?}");
    let found: Value = serde_json::from_str(&sandbox.read("out/ray_analysis.json")).expect("json");
    assert_eq!(found["summary"]["total_products"], 10_000);
    assert_eq!(found["all_products"][9_999]["product"], "p10000");
}

#[test]
fn a_process_that_dies_costs_an_attempt() {
    let sandbox = Sandbox::with_cluster(2);
    write_products(&sandbox, 1_000_000, "products.parquet");
    sandbox.write("job.toml", JOB);
    let failed = |task: &Value| task["state"] == "FAILED";
    let has_ended =
        |job: &str| sandbox.run(&["job", "get", job, "-o", "json"]).succeeded().json()["ended_ms"].as_i64() > Some(0);
    let deadline = std::time::Instant::now() + PATIENCE;
    let mut job = submit(&sandbox, &["job.toml"]);
    loop {
        assert!(std::time::Instant::now() < deadline, "no attempt has failed");
        sandbox.executors().into_iter().for_each(kill_if_there);
        // A job may have ended before this came to its processes.
        let ended = has_ended(&job);
        if tasks(&sandbox, &job).iter().any(failed) {
            break;
        }
        if ended {
            job = submit(&sandbox, &["job.toml"]);
        }
    }
    sandbox.run(&["job", "wait", &job]).succeeded();
    let tasks = tasks(&sandbox, &job);
    let message = tasks.iter().find(|task| failed(task)).and_then(|task| task["message"].as_str()).expect("a message");
    assert!(message.starts_with("function `product-analysis` of step `analysis`, batch "), "{message}");
    let sql = "SELECT count(*) AS rows, count(DISTINCT product) AS products FROM './out'";
    let found = sandbox.run(&["sql", "--local", "-e", sql, "-o", "json"]).succeeded().json();
    assert_eq!((&found[0]["rows"], &found[0]["products"]), (&Value::from(1_000_000), &Value::from(1_000_000)));
}

#[test]
fn a_batch_that_ends_its_process_each_time_is_named() {
    let sandbox = Sandbox::with_cluster(1);
    write_products(&sandbox, 1_000_000, "products.parquet");
    sandbox.write("job.toml", JOB);
    let job = submit(&sandbox, &["job.toml"]);
    let deadline = std::time::Instant::now() + PATIENCE;
    let ended = || sandbox.run(&["job", "get", &job, "-o", "json"]).succeeded().json()["ended_ms"].as_i64() > Some(0);
    while !ended() {
        assert!(std::time::Instant::now() < deadline, "the job goes on");
        sandbox.executors().into_iter().for_each(kill_if_there);
    }
    let waited = sandbox.run(&["job", "wait", &job]).ended_with(1);
    waited.tells(&["function `product-analysis` of step `analysis`, batch ", ", rows ", "signal 9"]);
    assert!(!sandbox.work().join("out").exists(), "nothing is left of it");
}

#[test]
fn a_function_that_does_not_exist_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    sandbox.write("job.toml", &JOB.replace("product-analysis", "product-analyses"));
    let refused = sandbox.run(&["run", "job.toml"]).ended_with(2);
    refused.tells(&["job.toml:6", "there is no function `product-analyses`", "did you mean `product-analysis`?"]);
    sandbox.write("job.toml", &JOB.replace("input = \"products\"", "input = \"products\"\nargs = { hihg = 1 }"));
    write_products(&sandbox, 10, "products.parquet");
    sandbox.run(&["run", "job.toml"]).ended_with(2).tells(&["job.toml:6", "unknown field `hihg`"]);
}
