//! Job files whose steps run functions of the user's package.

use crate::program;
use crate::support::Sandbox;

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
batch_rows = 1000
[[sink]]
from = "labelled"
path = "out"
format = "parquet"
mode = "overwrite"
"#;

fn sandbox_with_numbers() -> Sandbox {
    let sandbox = Sandbox::with_cluster(2);
    let sql = "SELECT value FROM generate_series(1, 20000)";
    sandbox.run(&["sql", "--local", "-e", sql, "--output", "numbers.parquet"]).succeeded();
    sandbox.write("job.toml", &JOB.replace("PACKAGE", &program("functions")));
    sandbox
}

#[test]
fn steps_run_functions_of_a_package() {
    let sandbox = sandbox_with_numbers();
    sandbox.run(&["job", "submit", "job.toml"]).succeeded();
    let sql = "SELECT label, count(*) AS n, sum(value % 2) AS odd FROM './out' GROUP BY label ORDER BY label";
    let found = sandbox.run(&["sql", "-e", sql, "-o", "csv"]).succeeded();
    assert_eq!(found.stdout, "label,n,odd\nrough,10000,10000\nsmooth,10000,0\n");
}

#[test]
fn a_batch_that_ends_its_process_is_named_and_nothing_is_left() {
    let sandbox = sandbox_with_numbers();
    let job = sandbox.read("job.toml").replace("odd = \"rough\"", "odd = \"rough\", fatal = 4500");
    sandbox.write("job.toml", &job);
    let failed = sandbox.run(&["job", "submit", "job.toml"]).ended_with(1);
    failed.tells(&["function `label` of step `labelled`, batch ", "rows 4001 to 5000", "signal 6"]);
    assert!(!sandbox.work().join("out").exists());
}

#[test]
fn a_package_that_is_none_is_named_with_its_job_file() {
    let sandbox = Sandbox::new();
    sandbox.write("numbers.parquet", "");
    for (package, code, words) in
        [("./nowhere", 3, "there is no such file"), ("/bin/sh", 2, "not built with the Tandem SDK")]
    {
        sandbox.write("job.toml", &JOB.replace("PACKAGE", package));
        let refused = sandbox.run(&["run", "job.toml"]).ended_with(code);
        refused.tells(&["job.toml: package ", package, words]);
    }
}
