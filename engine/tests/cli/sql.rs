//! Statements: their rows in every form, their plans, and their errors.

use std::time::{Duration, Instant};

use crate::support::{Finished, Sandbox, files_below};

#[test]
fn rows_come_in_every_form() {
    let sandbox = Sandbox::with_cluster(2);
    sandbox.write("t.csv", "k,v\na,1\nb,2\na,3\n");
    let ask = |format: &str| {
        let sql = "SELECT k, sum(v) AS total FROM t GROUP BY k ORDER BY k";
        sandbox.run(&["sql", "-e", sql, "--table", "t=t.csv", "-o", format]).succeeded().stdout
    };
    assert_eq!(ask("csv"), "k,total\na,4\nb,2\n");
    assert_eq!(ask("jsonl"), "{\"k\":\"a\",\"total\":4}\n{\"k\":\"b\",\"total\":2}\n");
    assert_eq!(ask("json"), "[{\"k\":\"a\",\"total\":4},{\"k\":\"b\",\"total\":2}]\n");
    assert_eq!(
        ask("table"),
        "+---+-------+\n| k | total |\n+---+-------+\n| a |     4 |\n| b |     2 |\n+---+-------+\n2 rows\n"
    );
}

#[test]
fn a_long_row_of_joins_takes_over_as_many_stages_as_there_are_plans_for() {
    let sandbox = Sandbox::with_cluster(2);
    let rows: String = (0..600).map(|row| format!("{row},{row},{row},{row},{row},{row}\n")).collect();
    let keys: String = (0..300).map(|key| format!("{}\n", key * 2)).collect();
    for part in [0, 1] {
        sandbox.write(&format!("f/{part}.csv"), &format!("k1,k2,k3,k4,k5,k6\n{rows}"));
    }
    sandbox.write("d/0.csv", &format!("k\n{keys}"));
    sandbox.write("d/1.csv", "k\n1\n");
    let joins: String = (1..=6).map(|n| format!(" JOIN d d{n} ON f.k{n} = d{n}.k")).collect();
    let sql = format!("SELECT count(*) AS n FROM f{joins}");
    let mut command = vec!["sql", "-o", "csv", "-e", &sql, "--table", "f=f", "--table", "d=d"];
    for setting in [
        "datafusion.optimizer.hash_join_single_partition_threshold=0",
        "datafusion.optimizer.hash_join_single_partition_threshold_rows=0",
        "datafusion.execution.target_partitions=2",
    ] {
        command.extend(["--set", setting]);
    }
    assert_eq!(sandbox.run(&command).succeeded().stdout, "n\n602\n");
}

#[test]
fn more_rows_than_the_wire_can_tell_are_refused() {
    let sandbox = Sandbox::with_cluster(1);
    for sql in
        ["SELECT value FROM range(9) LIMIT 4294967296", "SELECT value FROM range(9) ORDER BY value OFFSET 4294967297"]
    {
        sandbox.run(&["sql", "-e", sql]).ended_with(2).tells(&["429496729", "is the most"]);
    }
}

#[test]
fn rows_go_to_a_file_that_appears_when_it_is_complete() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("q.sql", "SELECT 1 AS one, 'x' AS two");
    let written = sandbox.run(&["sql", "-f", "q.sql", "--output", "out.csv"]).succeeded();
    assert_eq!(written.stdout, "");
    assert_eq!(sandbox.read("out.csv"), "one,two\n1,x\n");
    sandbox.run(&["sql", "-e", "SELECT nothing", "--output", "none.csv"]).ended_with(2);
    assert!(!sandbox.work().join("none.csv").exists());
    sandbox.run(&["sql", "-e", "SELECT 1", "--output", "out.txt"]).ended_with(2).tells(&["out.txt", "help: "]);
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_the_statement_runs() {
    let sandbox = Sandbox::with_cluster(1);
    std::fs::create_dir(sandbox.work().join("folder.csv")).unwrap();
    for path in ["folder.csv", "missing/x.csv", "s3://bucket/x.csv"] {
        sandbox.run(&["sql", "-e", "SELECT 1", "--output", path]).ended_with(1).tells(&[path]);
    }
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(0), "{jobs}");
}

#[test]
fn a_file_that_is_given_up_is_gone() {
    let sandbox = Sandbox::with_cluster(1);
    let sql = "SELECT a.value + b.value FROM generate_series(1, 100000) a, generate_series(1, 100000) b";
    sandbox.run(&["sql", "-e", sql, "--output", "out.csv", "--timeout", "1s"]).ended_with(6).tells(&[]);
    assert_eq!(files_below(&sandbox.work()), Vec::<String>::new());
}

#[test]
fn the_ending_of_the_file_says_its_form() {
    let sandbox = Sandbox::with_cluster(1);
    let sql = "SELECT 1 AS n, 'x' AS text, [1, 2] AS list UNION ALL SELECT 2, NULL, NULL ORDER BY n";
    for file in ["out.parquet", "out.arrow", "out.jsonl", "out.json"] {
        sandbox.run(&["sql", "-e", sql, "--output", file]).succeeded();
        let table = format!("t={file}");
        let back = ["sql", "-e", "SELECT n, text, list[2] AS second FROM t ORDER BY n", "--table", &table, "-o", "csv"];
        assert_eq!(sandbox.run(&back).succeeded().stdout, "n,text,second\n1,x,2\n2,,\n", "{file}");
    }
    let age = ["sql", "-e", "SELECT INTERVAL '3' DAY AS age", "--output", "age.parquet"];
    sandbox.run(&age).ended_with(2).tells(&["parquet cannot hold column `age` of type Interval", "help: cast it"]);
    sandbox.run(&["sql", "-e", "SELECT 1 AS n WHERE false", "--output", "none.parquet"]).succeeded();
    let none = sandbox.run(&["sql", "-e", "SELECT * FROM t", "--table", "t=none.parquet", "-o", "csv"]).succeeded();
    assert_eq!(none.stdout, "n\n");
}

#[test]
fn a_statement_may_begin_with_a_comment_or_a_byte_order_mark() {
    let sandbox = Sandbox::with_cluster(1);
    let commented = "-- all\nSELECT 1 AS one";
    assert_eq!(sandbox.run(&["sql", "-e", commented, "-o", "csv"]).succeeded().stdout, "one\n1\n");
    sandbox.run(&["explain", "-e", commented]).succeeded();
    sandbox.write("marked.sql", "\u{feff}SELECT 1 AS one");
    assert_eq!(sandbox.run(&["sql", "-f", "marked.sql", "-o", "csv"]).succeeded().stdout, "one\n1\n");
    sandbox.run(&["sql", "-f", "missing.sql"]).ended_with(3).tells(&["missing.sql"]);
}

#[test]
fn an_empty_result_still_has_columns() {
    let sandbox = Sandbox::with_cluster(1);
    for sql in ["SELECT 1 AS one WHERE false", "SELECT table_name AS one FROM information_schema.tables WHERE false"] {
        assert_eq!(sandbox.run(&["sql", "-e", sql, "-o", "csv"]).succeeded().stdout, "one\n", "{sql}");
    }
}

#[test]
fn what_the_planner_knows_has_a_plan_too() {
    let sandbox = Sandbox::with_cluster(1);
    let sql = "EXPLAIN SELECT table_name FROM information_schema.tables";
    let plan = sandbox.run(&["sql", "-e", sql, "-o", "csv"]).succeeded().stdout;
    for words in ["plan_type,plan\n", "logical plan,", "run by the coordinator,", "information_schema"] {
        assert!(plan.contains(words), "{words}: {plan}");
    }
}

#[test]
fn a_table_may_have_the_name_of_a_function_but_not_of_another_table() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k\n7\n");
    let ask = |sql: &str| {
        let args = ["sql", "-e", sql, "-o", "csv", "--table", "range=t.csv"];
        sandbox.run(&args).succeeded().stdout
    };
    assert_eq!(ask("SELECT k FROM range"), "k\n7\n");
    assert_eq!(ask("SELECT value AS k FROM range(3, 4)"), "k\n3\n");
    let twice = ["sql", "-e", "SELECT * FROM t", "--table", "t=t.csv", "--table", "t=more/*.csv"];
    sandbox.run(&twice).ended_with(2).tells(&["table `t` is given twice: t.csv and more/*.csv", "help: "]);
    for table in ["t.csv", "t=", "=t.csv"] {
        sandbox.run(&["sql", "-e", "SELECT 1", "--table", table]).ended_with(2).tells(&["NAME=PATH, such as"]);
    }
}

#[test]
fn a_private_cluster_needs_none_and_leaves_none() {
    let sandbox = Sandbox::new();
    let answer = sandbox.run(&["sql", "--local", "-e", "SELECT 40 + 2 AS answer", "-o", "csv"]).succeeded();
    assert_eq!(answer.stdout, "answer\n42\n");
    assert!(sandbox.processes().is_empty());
    assert_eq!(std::fs::read_dir(sandbox.state().join("private")).unwrap().count(), 0);
    sandbox.run(&["cluster", "status"]).ended_with(4);
}

#[test]
fn wrong_statements_name_what_is_wrong() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.write("t.csv", "k,v\na,1\n");
    let tells = |sql: &str, words: &[&str]| {
        sandbox.run(&["sql", "-e", sql, "--table", "t=t.csv"]).ended_with(2).tells(words);
    };
    tells("SELEC 1", &["SELEC"]);
    tells("SELECT w FROM t", &["w"]);
    tells("SELECT * FROM nowhere", &["nowhere"]);
    let missing = sandbox.run(&["sql", "-e", "SELECT * FROM t", "--table", "t=missing.csv"]);
    missing.ended_with(2).tells(&["missing.csv"]);
    let unknown = sandbox.run(&["sql", "-e", "SELECT 1", "--set", "datafusion.no_such=1"]);
    unknown.ended_with(2).tells(&["no_such"]);
    let piecewise = "datafusion.optimizer.enable_piecewise_merge_join=true";
    let refused = sandbox.run(&["sql", "-e", "SELECT 1", "--set", piecewise]);
    refused.ended_with(2).tells(&["enable_piecewise_merge_join", "need it to be false"]);
}

#[test]
fn plans_are_cut_into_stages() {
    let sandbox = Sandbox::with_cluster(2);
    sandbox.write("t.csv", "k,v\na,1\nb,2\na,3\n");
    let sql = "SELECT k, sum(v) FROM t GROUP BY k";
    let plan = sandbox.run(&["explain", "-e", sql, "--table", "t=t.csv"]).succeeded();
    assert!(plan.stdout.starts_with("stage 1: "), "{}", plan.stdout);
    assert!(plan.stdout.contains("AggregateExec"), "{}", plan.stdout);
    let analyzed = sandbox.run(&["explain", "--analyze", "-e", sql, "--table", "t=t.csv"]).succeeded();
    assert!(analyzed.stdout.contains("rows, "), "{}", analyzed.stdout);
}

#[test]
fn a_query_that_takes_too_long_is_given_up() {
    let sandbox = Sandbox::with_cluster(1);
    let sql =
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value + b.value < 0";
    let start = Instant::now();
    sandbox.run(&["sql", "-e", sql, "--timeout", "500ms"]).ended_with(6).tells(&["500 ms"]);
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let sandbox = Sandbox::with_cluster(1);
    let script =
        format!("'{}' sql -e 'SELECT * FROM generate_series(1, 200000)' -o csv | head -n 2", crate::support::TANDEM);
    let mut command = std::process::Command::new("bash");
    let prepared = sandbox.command(&[]);
    command.args(["-o", "pipefail", "-c", &script]).env_clear().current_dir(sandbox.work());
    for (name, value) in prepared.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let head = Finished::of(&mut command).succeeded();
    assert_eq!(head.stdout.lines().count(), 2);
}
