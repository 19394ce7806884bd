//! Printing lists of things (jobs, tasks, nodes) in any form. A thing says once what its columns and its JSON form are.

use std::io::Write;

use serde::Serialize;

use super::OutputFormat;
use super::grid::print_grid;
use crate::cli::Failure;

/// Something that lists are made of. Its `Serialize` form is the stable and complete one.
pub(crate) trait Record: Serialize {
    /// Headers of the table.
    const COLUMNS: &'static [&'static str];

    /// The table's cells, one for each header.
    fn cells(&self) -> Vec<String>;
}

/// Prints all of `records`.
pub(crate) fn print_list<R: Record>(format: OutputFormat, records: &[R]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match format {
        OutputFormat::Table => {
            let header: Vec<String> = R::COLUMNS.iter().map(|name| name.to_uppercase()).collect();
            let rows: Vec<Vec<String>> = records.iter().map(Record::cells).collect();
            print_grid(&mut out, &header, &rows)?;
        }
        OutputFormat::Json => writeln!(out, "{}", to_json(&records, true)?)?,
        OutputFormat::Jsonl => {
            for record in records {
                writeln!(out, "{}", to_json(record, false)?)?;
            }
        }
        OutputFormat::Csv => {
            writeln!(out, "{}", R::COLUMNS.join(","))?;
            for record in records {
                let cells: Vec<String> = record.cells().iter().map(|cell| quote(cell)).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
        }
        OutputFormat::Arrow => return Err(no_arrow()),
    }
    Ok(out.flush()?)
}

/// Prints one record: as a table with one line per column, or as one JSON object.
pub(crate) fn print_one<R: Record>(format: OutputFormat, record: &R) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match format {
        OutputFormat::Table => {
            let width = R::COLUMNS.iter().map(|name| name.len()).max().unwrap_or(0);
            for (name, cell) in R::COLUMNS.iter().zip(record.cells()) {
                writeln!(out, "{name:width$}  {cell}")?;
            }
        }
        OutputFormat::Json => writeln!(out, "{}", to_json(record, true)?)?,
        OutputFormat::Jsonl => writeln!(out, "{}", to_json(record, false)?)?,
        OutputFormat::Csv => {
            let cells: Vec<String> = record.cells().iter().map(|cell| quote(cell)).collect();
            writeln!(out, "{}\n{}", R::COLUMNS.join(","), cells.join(","))?;
        }
        OutputFormat::Arrow => return Err(no_arrow()),
    }
    Ok(out.flush()?)
}

fn to_json(value: &impl Serialize, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))
}

fn no_arrow() -> Failure {
    Failure::usage("only the rows of a query can be had as arrow").with_help("use -o json")
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_that_need_it_are_quoted() {
        assert_eq!(quote("plain"), "plain");
        assert_eq!(quote("a,b"), "\"a,b\"");
        assert_eq!(quote("say \"hi\""), "\"say \"\"hi\"\"\"");
    }
}
