//! `sales` over a file that is big enough for all workers, in each format, beside DuckDB.
//! `TANDEM_SALES_ROWS=100000000` makes it longer.

use std::collections::BTreeSet;

use crate::support::{Sandbox, duckdb, number_from};

/// How many rows of either side the other one lacks.
const COMPARE: &str = "
CREATE TABLE expected AS
SELECT product, sum(quantity * price) AS total_revenue, sum(quantity) AS total_quantity,
       count(*) AS transaction_count, avg(quantity) AS avg_quantity
FROM 'sales.csv' GROUP BY product;
CREATE TABLE written AS
SELECT row_number() OVER () AS place, * FROM read_json('OUTPUT/spark_output.json', format = 'array', columns = {
    product: 'VARCHAR', total_revenue: 'DOUBLE', total_quantity: 'BIGINT', transaction_count: 'BIGINT',
    avg_quantity: 'DOUBLE'
});
SELECT (SELECT count(*) FROM expected) AS expected,
       (SELECT count(*) FROM written) AS written,
       (SELECT count(*) FROM expected JOIN written AS w USING (product, total_quantity, transaction_count)
        WHERE abs(expected.total_revenue / w.total_revenue - 1) < 1e-9
          AND abs(expected.avg_quantity / w.avg_quantity - 1) < 1e-9) AS equal,
       (SELECT count(*) FROM written a JOIN written b ON a.place < b.place
        WHERE a.total_revenue < b.total_revenue) AS out_of_order";

#[test]
fn sales_run_on_all_workers_and_are_what_duckdb_computes() {
    if let Err(reason) = duckdb::find() {
        return eprintln!("skipped: {reason}");
    }
    let sandbox = Sandbox::with_cluster(3);
    let rows = number_from("TANDEM_SALES_ROWS", 1_000_000).to_string();
    for file in ["sales.csv", "sales.jsonl", "sales.parquet"] {
        sandbox.run(&["data", "gen", "sales", "--rows", &rows, "--out", file]).succeeded();
        let output = format!("out-{file}");
        let (input, target) = (format!("input={file}"), format!("output={output}"));
        let args = ["job", "submit", "sales", "--no-wait", "--set", &input, "--set", &target];
        let id = sandbox.run(&args).succeeded().stdout;
        sandbox.run(&["job", "wait", id.trim()]).succeeded();
        let tasks = sandbox.run(&["job", "tasks", id.trim(), "-o", "json"]).succeeded().json();
        let tasks = tasks.as_array().expect("tasks");
        let workers: BTreeSet<_> = tasks.iter().filter_map(|task| task["worker"].as_str()).collect();
        assert_eq!(workers.len(), 3, "{file}: {tasks:?}");
        let found = &duckdb::ask(&sandbox.work(), &COMPARE.replace("OUTPUT", &output))[0];
        assert!(found["expected"].as_u64() > Some(50), "{found}");
        for count in ["written", "equal"] {
            assert_eq!(found[count], found["expected"], "{file}: {found}");
        }
        assert_eq!(found["out_of_order"], 0, "{file}: {found}");
    }
    // Whoever summed up which rows: the bytes are the same.
    let alone = ["run", "sales", "--workers", "1", "--set", "input=sales.csv", "--set", "output=out-alone"];
    sandbox.run(&alone).succeeded();
    let written = |output: &str| sandbox.read(&format!("{output}/spark_output.json"));
    for output in ["out-sales.jsonl", "out-sales.parquet", "out-alone"] {
        assert!(written(output) == written("out-sales.csv"), "{output} is not what the sales of the CSV file are");
    }
}
