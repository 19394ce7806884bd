//! `events` beside DuckDB, which reads the same raw file by the same rules: every count, every row, every reject.
//! `TANDEM_EVENTS_ROWS=5000000` makes it a long run.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::Command;

use crate::support::moto::{BUCKET, Moto};
use crate::support::{Sandbox, duckdb, number_from};

/// How DuckDB reads the raw files into `raw` and `rejected`.
const READ_CSV: &str = r#"
CREATE TABLE raw AS
SELECT * FROM read_csv('INPUT', header = true, auto_detect = false, delim = ',', quote = '"', escape = '"',
    store_rejects = true, columns = {
        event_id: 'VARCHAR', event_time: 'TIMESTAMP', user_id: 'VARCHAR', product_id: 'VARCHAR', category: 'VARCHAR',
        quantity: 'INTEGER', unit_price: 'DECIMAL(12,2)', country: 'VARCHAR', status: 'VARCHAR'
    });
CREATE TABLE rejected AS SELECT CAST(line AS BIGINT) AS line FROM reject_errors;
"#;
/// An element of the array stands on each line.
const READ_JSON: &str = r"
CREATE TABLE texts AS
SELECT row_number() OVER () AS line, *,
       TRY_CAST(event_time AS TIMESTAMP) AS time, TRY_CAST(quantity AS INTEGER) AS pieces,
       TRY_CAST(unit_price AS DECIMAL(12,2)) AS price,
       (event_time <> '' AND time IS NULL) OR (quantity <> '' AND pieces IS NULL)
           OR (unit_price <> '' AND price IS NULL) AS is_bad
FROM read_json('INPUT', format = 'array', columns = {
    event_id: 'VARCHAR', event_time: 'VARCHAR', user_id: 'VARCHAR', product_id: 'VARCHAR', category: 'VARCHAR',
    quantity: 'VARCHAR', unit_price: 'VARCHAR', country: 'VARCHAR', status: 'VARCHAR'
});
CREATE TABLE rejected AS SELECT line FROM texts WHERE is_bad;
CREATE TABLE raw AS
SELECT event_id, time AS event_time, user_id, product_id, category, pieces AS quantity, price AS unit_price, country, status
FROM texts WHERE is_bad IS NOT TRUE;
";
const COMPARE: &str = include_str!("events.sql");

/// The raw files, and how DuckDB reads each.
const INPUTS: [(&str, &str); 3] = [("events.csv", READ_CSV), ("events.json", READ_JSON), ("events.csv.gz", READ_CSV)];

/// A cluster, and dirty events in every form.
fn scene(workers: u32) -> Sandbox {
    let sandbox = Sandbox::with_cluster(workers);
    let rows = number_from("TANDEM_EVENTS_ROWS", 20_000).to_string();
    for format in ["csv", "jsonl"] {
        let args = ["data", "gen", "events", "--rows", &rows, "--dirty", "0.01", "--out", "data", "--format", format];
        sandbox.run(&args).succeeded();
    }
    let data = sandbox.work().join("data");
    make_array(&data.join("events.jsonl"), &data.join("events.json"));
    let zipped = Command::new("gzip").args(["-k1", "events.csv"]).current_dir(&data).status().expect("gzip runs");
    assert!(zipped.success());
    sandbox
}

/// Makes the objects of `lines` the elements of one array, each on a line of its own.
fn make_array(lines: &Path, array: &Path) {
    let mut out = BufWriter::new(File::create(array).expect("a file"));
    let mut before = "[";
    for line in BufReader::new(File::open(lines).expect("lines")).lines() {
        write!(out, "{before}{}", line.expect("a line")).expect("written");
        before = ",\n";
    }
    out.write_all(b"]\n").and_then(|()| out.flush()).expect("written");
}

fn run(sandbox: &Sandbox, input: &str, products: &str, output: &str) {
    let [input, products, output] =
        [("input", input), ("products", products), ("output", output)].map(|(key, value)| format!("{key}={value}"));
    sandbox.run(&["job", "submit", "events", "--set", &input, "--set", &products, "--set", &output]).succeeded();
}

/// Compares what the job wrote to `output`, a local folder, with what DuckDB makes of `input`.
fn check(sandbox: &Sandbox, input: &str, read: &str, output: &str) {
    let statements = format!("{read}{COMPARE}")
        .replace("INPUT", &format!("data/{input}"))
        .replace("PRODUCTS", "data/products.csv")
        .replace("OUTPUT", output);
    let found = &duckdb::ask(&sandbox.work(), &statements)[0];
    let differences = found.as_object().expect("counts").iter().skip(5).filter(|(_, count)| **count != 0);
    let differences: Vec<_> = differences.collect();
    assert!(differences.is_empty(), "{output}: {differences:?}");

    let summary: serde_json::Value =
        serde_json::from_str(&sandbox.read(&format!("{output}/summary.json"))).expect("json");
    let rows = &summary["rows"];
    for count in ["read", "rejected", "dropped", "deduplicated", "written"] {
        assert!(found[count].as_u64() > Some(0), "{output}: no row is {count}");
        assert_eq!(rows[count], found[count], "{output}: {count}");
    }
    let count = |name: &str| rows[name].as_u64().expect("a count");
    assert_eq!(count("read"), count("rejected") + count("dropped") + count("deduplicated") + count("written"));
}

#[test]
fn events_are_what_duckdb_makes_of_local_files() {
    if let Err(reason) = duckdb::find() {
        return eprintln!("skipped: {reason}");
    }
    let sandbox = scene(3);
    for (input, read) in INPUTS {
        let output = format!("out-{input}");
        run(&sandbox, &format!("data/{input}"), "data/products.csv", &output);
        check(&sandbox, input, read, &output);
    }
}

#[test]
fn events_are_what_duckdb_makes_of_a_bucket() {
    if let Err(reason) = duckdb::find() {
        return eprintln!("skipped: {reason}");
    }
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    // Each worker writes a file per day; more of them take a server in Python long.
    let sandbox = scene(2).with_environment(moto.environment());
    let bucket = format!("s3://{BUCKET}");
    moto.put("in/products.csv", &sandbox.work().join("data/products.csv")).expect("an object");
    for (input, read) in INPUTS {
        moto.put(&format!("in/{input}"), &sandbox.work().join("data").join(input)).expect("an object");
        let output = format!("out-{input}");
        run(
            &sandbox,
            &format!("{bucket}/in/{input}"),
            &format!("{bucket}/in/products.csv"),
            &format!("{bucket}/{output}"),
        );
        moto.download(&output, &sandbox.work()).expect("objects");
        check(&sandbox, input, read, &output);
    }
    assert_eq!(moto.open_uploads(), 0);
}
