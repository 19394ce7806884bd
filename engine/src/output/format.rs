//! The forms in which data can be asked for with `-o`.

use std::fmt;
use std::str::FromStr;

/// One form of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum OutputFormat {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// An Arrow IPC stream; rows of a query only.
    Arrow,
}

const NAMES: [(OutputFormat, &str); 5] = [
    (OutputFormat::Table, "table"),
    (OutputFormat::Json, "json"),
    (OutputFormat::Csv, "csv"),
    (OutputFormat::Jsonl, "jsonl"),
    (OutputFormat::Arrow, "arrow"),
];

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMES.iter().find(|(_, name)| *name == text).map(|(format, _)| *format);
        found.ok_or_else(|| format!("`{text}` is not an output format (table, json, csv, jsonl or arrow)"))
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(format, _)| format == self).map_or("table", |(_, name)| name))
    }
}
