//! DuckDB, a peer that works out the same answers by itself.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs the statements of standard input in a database of its own and prints the rows of the last one as JSON.
const RUN: &str = "
import json, sys, duckdb
connection = duckdb.connect()
connection.execute('SET enable_progress_bar = false')
rows = connection.execute(sys.stdin.read())
names = [column[0] for column in rows.description]
print(json.dumps([dict(zip(names, row)) for row in rows.fetchall()], default=str))
";

/// Whether there is one here, or what is missing.
pub fn find() -> Result<(), String> {
    let found = Command::new("python3").args(["-c", "import duckdb"]).output();
    match found {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err("python3 has no DuckDB: pip install duckdb".to_owned()),
    }
}

/// The rows of the last of `statements`, in which relative paths start in `folder`.
#[track_caller]
pub fn ask(folder: &Path, statements: &str) -> Vec<Value> {
    let mut process = Command::new("python3")
        .args(["-c", RUN])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let mut input = process.stdin.take().expect("its standard input");
    input.write_all(statements.as_bytes()).expect("it reads its input");
    drop(input);
    let output = process.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("rows")
}
