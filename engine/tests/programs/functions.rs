//! Job files whose steps run functions of the user's package. `TANDEM_ROWS=10000000` gives them so many rows.

use crate::program;
use crate::support::{Sandbox, number_from};

const JOB: &str = r#"
name = "labelled"
package = "PACKAGE"
[[source]]
name = "numbers"
path = "numbers.parquet"
[[step]]
name = "labelled"
run = "label"
input = "numbers"
like = "numbers"
schema = "label string"
args = { even = "smooth", odd = "rough" }
batch_rows = BATCH
[[sink]]
from = "labelled"
path = "out"
format = "parquet"
mode = "overwrite"
"#;

fn job(package: &str, batch: u64) -> String {
    JOB.replace("PACKAGE", package).replace("BATCH", &batch.to_string())
}

/// With so many numbers from one, twenty batches of them.
fn sandbox_with_numbers() -> (Sandbox, u64) {
    let (sandbox, rows) = (Sandbox::with_cluster(2), number_from("TANDEM_ROWS", 20_000));
    let sql = format!("SELECT value FROM generate_series(1, {rows})");
    sandbox.run(&["sql", "--local", "-e", &sql, "--output", "numbers.parquet"]).succeeded();
    sandbox.write("job.toml", &job(&program("functions"), rows / 20));
    (sandbox, rows)
}

/// Changes the arguments of the function.
fn add_args(sandbox: &Sandbox, more: &str) {
    let job = sandbox.read("job.toml").replace("odd = \"rough\"", &format!("odd = \"rough\", {more}"));
    sandbox.write("job.toml", &job);
}

fn expect_labels(sandbox: &Sandbox, rows: u64) {
    let sql = "SELECT label, count(*) AS n, sum(value % 2) AS odd FROM './out' GROUP BY label ORDER BY label";
    let found = sandbox.run(&["sql", "-e", sql, "-o", "csv"]).succeeded();
    let half = rows / 2;
    assert_eq!(found.stdout, format!("label,n,odd\nrough,{half},{half}\nsmooth,{half},0\n"));
}

#[test]
fn steps_run_functions_of_a_package() {
    let (sandbox, rows) = sandbox_with_numbers();
    sandbox.run(&["job", "submit", "job.toml"]).succeeded();
    expect_labels(&sandbox, rows);
}

#[test]
fn a_batch_that_ends_its_process_once_is_tried_again() {
    let (sandbox, rows) = sandbox_with_numbers();
    let mark = sandbox.work().join("ended");
    add_args(&sandbox, &format!("fatal = {}, once = '{}'", rows / 4, mark.display()));
    sandbox.run(&["job", "submit", "job.toml"]).succeeded();
    assert!(mark.exists(), "a process has ended");
    expect_labels(&sandbox, rows);
}

#[test]
fn a_batch_that_ends_its_process_is_named_and_nothing_is_left() {
    let (sandbox, rows) = sandbox_with_numbers();
    let batch = rows / 20;
    add_args(&sandbox, &format!("fatal = {}", 4 * batch + batch / 2));
    let failed = sandbox.run(&["job", "submit", "job.toml"]).ended_with(1);
    let named = format!("rows {} to {}", 4 * batch + 1, 5 * batch);
    failed.tells(&["function `label` of step `labelled`, batch ", &named, "signal 6"]);
    assert!(!sandbox.work().join("out").exists());
}

#[test]
fn a_package_that_is_none_is_named_with_its_job_file() {
    let sandbox = Sandbox::new();
    sandbox.write("numbers.parquet", "");
    for (package, code, words) in
        [("./nowhere", 3, "there is no such file"), ("/bin/sh", 2, "not built with the Tandem SDK")]
    {
        sandbox.write("job.toml", &job(package, 1000));
        let refused = sandbox.run(&["run", "job.toml"]).ended_with(code);
        refused.tells(&["job.toml: package ", package, words]);
    }
}
