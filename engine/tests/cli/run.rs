//! `run`: a job from nothing to its result, and nothing left.

use std::process::{Child, Stdio};

use crate::support::{ENDLESS_JOB, Finished, Sandbox, files_below, signal, wait_for};

/// What the nine built-in sales add up to, byte for byte.
const GOLDEN: &str = include_str!("../../jobs/tests/golden/sales.json");
/// What is said of them.
const GOLDEN_ANALYSIS: &str = include_str!("../../jobs/tests/golden/ray_analysis.json");

#[test]
fn sales_gives_the_golden_rows_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["run", "sales", "--set", "output=out"]).succeeded();
    assert_eq!(sandbox.read("out/spark_output.json").trim_end(), GOLDEN.trim_end());
    assert_eq!(sandbox.read("out/ray_analysis.json"), GOLDEN_ANALYSIS);
    for cells in ["| product_B |        7250.0 |", "| product_A |        4725.0 |", "| product_C |        4150.0 |"] {
        assert!(run.stdout.contains(cells), "{}", run.stdout);
    }
    for line in
        ["  total_revenue            16,125.00", "    High Performer         3", "all_products               3 items"]
    {
        assert!(run.stdout.lines().any(|found| found == line), "{line}: {}", run.stdout);
    }
    for words in ["SUCCEEDED", "3 workers, ", "worker-3", "product-analysis"] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert!(sandbox.processes().is_empty());
    assert_eq!(std::fs::read_dir(sandbox.state().join("private")).unwrap().count(), 0);
    assert_eq!(
        files_below(&sandbox.work().join("out")),
        ["ray_analysis.json", "report.md", "spark_output.json", "summary.json"]
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told_of() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.work().join("out/summary.json/in-the-way")).unwrap();
    let run = sandbox.run(&["run", "sales", "--set", "output=out", "--workers", "1"]).succeeded();
    for words in ["warning: the report of the job could not be written: ", "out/summary.json"] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert_eq!(sandbox.read("out/spark_output.json").trim_end(), GOLDEN.trim_end());
}

#[test]
fn a_job_file_reads_checks_and_writes() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "k,v\na,1\nb,2\na,3\n");
    sandbox.write(
        "job.toml",
        r#"
name = "totals"
[params]
input = "missing.csv"
[[source]]
name = "t"
path = "${input}"
format = "csv"
schema = "k string, v int"
[[step]]
name = "totals"
sql = "SELECT k, sum(v) AS total FROM t GROUP BY k"
checks = ["min_rows = 2", "total > 0"]
[[sink]]
from = "totals"
path = "out"
format = "csv"
mode = "overwrite"
"#,
    );
    sandbox.run(&["run", "job.toml"]).ended_with(2).tells(&["missing.csv"]);
    let run = sandbox.run(&["run", "job.toml", "--set", "input=in.csv", "-o", "csv"]).succeeded();
    let mut rows: Vec<&str> = run.stdout.lines().collect();
    rows.sort_unstable();
    assert_eq!(rows, ["a,4", "b,2", "k,total"]);
    let report = sandbox.run(&["run", "job.toml", "--set", "input=in.csv", "-o", "json"]).succeeded();
    assert!(report.json().is_object());
}

#[test]
fn a_job_that_succeeds_does_so_whatever_of_it_can_be_shown() {
    let sandbox = Sandbox::new();
    let sink = |from: &str, rest: &str| format!("[[sink]]\nfrom = \"{from}\"\n{rest}\n");
    let sinks = [
        sink("none", "path = \"none.jsonl\""),
        sink("none", "path = \"parts\"\nformat = \"csv\"\npartition_by = [\"v\"]"),
        sink("few", "path = \"packed.csv\"\ncompression = \"gzip\""),
        sink("few", "path = \"res/\"\nformat = \"json\""),
        sink("texts", "path = \"digits.csv\""),
    ];
    let job = r#"
name = "shown"
[[step]]
name = "texts"
sql = """SELECT CASE value WHEN 800 THEN 'text' ELSE CAST(value AS VARCHAR) END AS v, repeat('x', 2000) AS pad
FROM generate_series(1, 1000)"""
[[step]]
name = "none"
sql = "SELECT 7 AS v, 'seen' AS w WHERE false"
[[step]]
name = "few"
sql = "SELECT 7 AS v, 'seen' AS w"
"#;
    sandbox.write("job.toml", &format!("{job}{}", sinks.concat()));
    let run = sandbox.run(&["run", "job.toml", "--workers", "1"]).succeeded();
    assert_eq!(run.stdout.matches("| 7 | seen |").count(), 2, "{}", run.stdout);
    for path in ["none.jsonl", "parts"] {
        assert!(run.stderr.contains(&format!("no rows were written to {path}\n")), "{path}: {}", run.stderr);
    }
    assert_eq!(run.stderr.matches("note: cannot show digits.csv: ").count(), 1, "{}", run.stderr);
}

#[test]
fn a_closed_standard_error_ends_nothing() {
    let sandbox = Sandbox::new();
    let unread = |args: &[&str]| {
        let (_, stderr) = std::io::pipe().unwrap();
        Finished::of(sandbox.command(args).stderr(stderr))
    };
    unread(&["-vv", "run", "sales", "--set", "output=out", "--workers", "1"]).succeeded();
    assert_eq!(sandbox.read("out/spark_output.json").trim_end(), GOLDEN.trim_end());
    unread(&["cert", "create", "--out", "tls"]).succeeded();
    unread(&["run", "missing.toml"]).ended_with(3);
}

#[test]
fn a_job_that_fails_exits_with_1_and_says_why() {
    let sandbox = Sandbox::new();
    sandbox.write("in.csv", "k,v\na,1\nb,-2\n");
    sandbox.write(
        "job.toml",
        r#"
name = "checked"
[[source]]
name = "t"
path = "in.csv"
format = "csv"
schema = "k string, v int"
[[step]]
name = "positive"
sql = "SELECT * FROM t"
checks = ["v > 0"]
[[sink]]
from = "positive"
path = "out"
format = "csv"
"#,
    );
    let run = sandbox.run(&["run", "job.toml"]).ended_with(1);
    run.tells(&["v > 0", "positive"]);
    assert_eq!(files_below(&sandbox.work().join("out")), Vec::<String>::new());
    assert!(sandbox.processes().is_empty());
}

#[test]
fn checks_see_all_rows_of_a_step_whatever_its_readers_leave_unread() {
    let sandbox = Sandbox::new();
    let rows: String = (0..60_000).map(|v| format!("{v}\n")).collect();
    sandbox.write("in.csv", &format!("v\n{rows}"));
    let job = |check: &str, read: &str| {
        format!(
            r#"
name = "checked"
[[source]]
name = "t"
path = "in.csv"
schema = "v int"
[[step]]
name = "clean"
sql = "SELECT * FROM t"
checks = ["min_rows = 60000", "{check}"]
[[step]]
name = "kept"
sql = "SELECT v + 1 AS v FROM clean"
[[step]]
name = "some"
sql = "{read}"
[[sink]]
from = "some"
path = "out"
format = "csv"
mode = "overwrite"
"#
        )
    };
    let none = "SELECT k.v FROM (SELECT v FROM t WHERE v < 0) AS few JOIN kept AS k ON few.v = k.v";
    for read in ["SELECT * FROM kept LIMIT 10", none] {
        sandbox.write("job.toml", &job("v < 60000", read));
        sandbox.run(&["run", "job.toml"]).succeeded();
        sandbox.write("job.toml", &job("v < 59999", read));
        sandbox.run(&["run", "job.toml"]).ended_with(1).tells(&["v < 59999", "clean"]);
    }
}

#[test]
fn columns_of_folders_come_back_with_their_type_and_nulls() {
    let sandbox = Sandbox::new();
    let day = |id: usize| if id % 7 == 6 { String::new() } else { format!("2024-10-0{}", 4 + id % 3) };
    let rows: String = (0..70).map(|id| format!("{id},{}\n", day(id))).collect();
    sandbox.write("in.csv", &format!("id,day\n{rows}"));
    for format in ["parquet", "arrow", "csv", "jsonl"] {
        sandbox.write(
            "job.toml",
            &format!(
                r#"
name = "folders"
[[source]]
name = "t"
path = "in.csv"
schema = "id int, day date"
[[sink]]
from = "t"
path = "{format}"
format = "{format}"
partition_by = ["day"]
"#
            ),
        );
        sandbox.run(&["run", "job.toml", "--workers", "1"]).succeeded();
        let table = format!("t={format}");
        let answer = |sql: &str| {
            let setting = "datafusion.execution.target_partitions=3";
            let args = ["sql", "--local", "--set", setting, "-e", sql, "--table", &table, "-o", "csv"];
            sandbox.run(&args).succeeded().stdout
        };
        assert_eq!(
            answer("SELECT day, count(*) AS n, sum(id) AS s FROM t GROUP BY day ORDER BY day"),
            "day,n,s\n2024-10-04,20,678\n2024-10-05,20,680\n2024-10-06,20,682\n,10,375\n",
            "{format}"
        );
        let least = "SELECT arrow_typeof(day) AS type, day, id FROM t WHERE day IS NULL OR day < DATE '2024-10-05' ORDER BY id LIMIT 4";
        assert_eq!(
            answer(least),
            "type,day,id\nDate32,2024-10-04,0\nDate32,2024-10-04,3\nDate32,,6\nDate32,2024-10-04,9\n",
            "{format}"
        );
    }
}

#[test]
fn a_kept_cluster_can_be_asked() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["run", "sales", "--set", "output=out", "--keep", "--workers", "1"]).succeeded();
    assert!(run.stderr.contains("tandem cluster down"), "{}", run.stderr);
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert!(jobs.as_array().unwrap().iter().any(|job| job["name"] == "sales" && job["state"] == "SUCCEEDED"));
}

#[test]
fn a_worker_without_enough_memory_is_one_clear_error() {
    let sandbox = Sandbox::new();
    let run = sandbox.run(&["run", "sales", "--set", "output=out", "--memory", "1MiB"]).ended_with(1);
    run.tells(&["keeps failing", "memory limit"]);
    assert!(sandbox.processes().is_empty());
}

/// Starts an endless job on a private cluster and returns once its coordinator is up.
fn start_endless(sandbox: &Sandbox) -> Child {
    sandbox.write("endless.toml", ENDLESS_JOB);
    let mut command = sandbox.command(&["run", "endless.toml", "--workers", "1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let private = sandbox.state().join("private");
    wait_for("the start of the coordinator", || files_below(&private).iter().any(|file| file.contains("journal")));
    child
}

#[test]
fn ctrl_c_stops_the_job_and_the_cluster() {
    let sandbox = Sandbox::new();
    let child = start_endless(&sandbox);
    signal("INT", child.id());
    let ended = Finished::from(child.wait_with_output().unwrap()).ended_with(130);
    assert!(ended.stderr.contains("error: interrupted"), "{}", ended.stderr);
    assert!(sandbox.processes().is_empty());
    assert_eq!(std::fs::read_dir(sandbox.state().join("private")).unwrap().count(), 0);
}

/// Writes for a long time, a row group after the other.
const LONG_WRITE: &str = r#"
name = "long"
[[step]]
name = "numbers"
sql = "SELECT a.value AS a, b.value AS b FROM generate_series(1, 1000000) AS a, generate_series(1, 1000000) AS b"
[[sink]]
from = "numbers"
path = "out/numbers"
format = "csv"
"#;

/// Starts a job on a private cluster and returns once it has begun to write below `out`.
fn start_writing(sandbox: &Sandbox, args: &[&str]) -> Child {
    sandbox.write("out/kept.txt", "kept");
    sandbox.write("long.toml", LONG_WRITE);
    let args = [&["run", "long.toml", "--workers", "1"], args].concat();
    let child = sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the first staged file", || files_below(&sandbox.work().join("out")).len() > 1);
    child
}

/// Whether nothing of the job is left where it wrote.
#[track_caller]
fn assert_nothing_staged(sandbox: &Sandbox) {
    let names = std::fs::read_dir(sandbox.work().join("out")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["kept.txt"]);
    assert!(sandbox.processes().is_empty());
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing_of_what_it_wrote() {
    for name in ["INT", "TERM", "HUP"] {
        let sandbox = Sandbox::new();
        let child = start_writing(&sandbox, &[]);
        signal(name, child.id());
        Finished::from(child.wait_with_output().unwrap()).ended_with(130).tells(&["interrupted"]);
        assert_nothing_staged(&sandbox);
    }
}

#[test]
fn a_killed_run_takes_its_processes_along_and_the_next_removes_what_it_wrote() {
    let sandbox = Sandbox::new();
    let mut child = start_writing(&sandbox, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("the end of all processes", || sandbox.processes().is_empty());
    sandbox.run(&["sql", "--local", "-e", "SELECT 1"]).succeeded();
    assert_nothing_staged(&sandbox);
    assert_eq!(std::fs::read_dir(sandbox.state().join("private")).unwrap().count(), 0);
}

#[test]
fn a_run_that_takes_too_long_leaves_nothing_of_what_it_wrote() {
    let sandbox = Sandbox::new();
    let child = start_writing(&sandbox, &["--timeout", "6s"]);
    Finished::from(child.wait_with_output().unwrap()).ended_with(6).tells(&["not done after"]);
    assert_nothing_staged(&sandbox);
}

#[test]
fn a_run_whose_check_fails_leaves_nothing_of_what_it_wrote() {
    let sandbox = Sandbox::new();
    sandbox.write("out/kept.txt", "kept");
    let job = LONG_WRITE.replace("1000000", "1000").replace("[[sink]]", "checks = [\"max_rows = 9\"]\n[[sink]]");
    sandbox.write("checked.toml", &job);
    sandbox.run(&["run", "checked.toml"]).ended_with(1).tells(&["max_rows = 9"]);
    assert_nothing_staged(&sandbox);
}

#[test]
fn a_column_that_a_format_cannot_hold_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    let job = r#"
name = "ages"
[[step]]
name = "ages"
sql = "SELECT INTERVAL '3' DAY AS age"
[[sink]]
from = "ages"
path = "out"
format = "parquet"
"#;
    sandbox.write("ages.toml", job);
    let run = sandbox.run(&["run", "ages.toml", "--workers", "1"]).ended_with(2);
    run.tells(&["ages.toml", "parquet cannot hold column `age` of type Interval", "help: cast it"]);
    sandbox.write("ages.toml", &job.replace("parquet", "csv"));
    sandbox.run(&["run", "ages.toml", "--workers", "1"]).succeeded();
}

#[test]
fn a_working_folder_may_have_the_name_of_a_pattern() {
    let sandbox = Sandbox::new();
    let job = r#"
name = "copy"
report = "report"
[[source]]
name = "t"
path = "in/*.csv"
schema = "k int, v int"
on_bad_row = "reject"
rejects = "rejects"
[[sink]]
from = "t"
path = "out/copy.csv"
"#;
    for (folder, rows) in [("a*[b]?", "1,2\nx,y\n"), ("aX[b]X", "3,4\n")] {
        sandbox.write(&format!("{folder}/in/t.csv"), &format!("k,v\n{rows}"));
        sandbox.write(&format!("{folder}/job.toml"), job);
    }
    let work = sandbox.work().join("a*[b]?");
    let run = |args: &[&str]| Finished::of(sandbox.command(args).current_dir(&work)).succeeded();
    assert_eq!(run(&["run", "job.toml", "--workers", "1", "-o", "csv"]).stdout, "k,v\n1,2\n");
    assert_eq!(sandbox.read("a*[b]?/out/copy.csv"), "k,v\n1,2\n");
    assert!(work.join("report/summary.json").exists() && work.join("rejects").exists());
    run(&["data", "gen", "sales", "--rows", "9", "--out", "sales.parquet"]);
    let count = ["sql", "--local", "-e", "SELECT count(*) AS n FROM 'sales.parquet'", "-o", "csv"];
    assert_eq!(run(&count).stdout, "n\n9\n");
}

#[test]
fn appending_other_columns_is_refused_before_anything_runs() {
    let sandbox = Sandbox::new();
    let append = |columns: &str| {
        let job = format!(
            r#"
name = "append"
[[step]]
name = "rows"
sql = "SELECT {columns}"
[[sink]]
from = "rows"
path = "out"
format = "parquet"
mode = "append"
"#
        );
        sandbox.write("append.toml", &job);
        sandbox.run(&["run", "append.toml", "--workers", "1"])
    };
    append("1 AS a, 'x' AS b").succeeded();
    append("'y' AS b, 2 AS a").succeeded();
    let before = files_below(&sandbox.work().join("out"));
    append("3 AS a, 'z' AS c").ended_with(2).tells(&["append.toml", "no column `c`"]);
    assert_eq!(files_below(&sandbox.work().join("out")), before);
}
