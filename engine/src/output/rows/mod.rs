//! Rows of a query on their way to standard output or a file, batch by batch, in any form.

mod names;
mod table;
mod writers;

use std::io::Write;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::OutputFormat;
use crate::cli::Failure;

/// Takes batches and writes them. Nothing is complete before [`RowWriter::finish`].
pub(crate) trait RowWriter {
    /// Adds rows.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure>;

    /// Writes what is left and what belongs at the end.
    fn finish(&mut self) -> Result<(), Failure>;
}

/// A form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// One that can be asked for with `-o`.
    Output(OutputFormat),
    /// A table with only the beginnings of long texts.
    Preview,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file, which unlike the stream says where its batches are.
    ArrowFile,
}

impl RowFormat {
    /// The form that a file's name asks for.
    pub(crate) fn of_file(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "parquet" => Some(Self::Parquet),
            "arrow" => Some(Self::ArrowFile),
            ending => ending.parse().ok().filter(|format| *format != OutputFormat::Table).map(Self::Output),
        }
    }

    /// Whether columns are told apart by their names alone.
    fn is_keyed(self) -> bool {
        matches!(self, Self::Parquet | Self::Output(OutputFormat::Json | OutputFormat::Jsonl))
    }
}

/// The writer of `format` for rows of `schema`. Columns of one name get numbers where that is all that tells them apart.
pub(crate) fn row_writer<'a>(
    format: RowFormat,
    schema: SchemaRef,
    out: impl Write + Send + 'a,
) -> Result<Box<dyn RowWriter + 'a>, Failure> {
    let renamed = if format.is_keyed() { names::numbered(&schema) } else { None };
    let schema = renamed.clone().unwrap_or(schema);
    let writer: Box<dyn RowWriter + 'a> = match format {
        RowFormat::Output(OutputFormat::Table) => Box::new(table::TableWriter::new(schema, false, out)),
        RowFormat::Preview => Box::new(table::TableWriter::new(schema, true, out)),
        RowFormat::Output(OutputFormat::Json) => Box::new(writers::JsonArray::new(out)),
        RowFormat::Output(OutputFormat::Jsonl) => Box::new(writers::JsonLines::new(out)),
        RowFormat::Output(OutputFormat::Csv) => Box::new(writers::Csv::new(&schema, out)?),
        RowFormat::Output(OutputFormat::Arrow) => Box::new(writers::ArrowStream::new(&schema, out)?),
        RowFormat::ArrowFile => Box::new(writers::ArrowFile::new(&schema, out)?),
        RowFormat::Parquet => Box::new(writers::Parquet::new(&schema, out)?),
    };
    Ok(match renamed {
        Some(schema) => Box::new(names::Renamed { schema, writer }),
        None => writer,
    })
}

/// A reader who went away is told apart from data that cannot be written.
fn arrow_failure(error: ArrowError) -> Failure {
    match error {
        ArrowError::IoError(_, error) => error.into(),
        error => Failure::failed(format!("cannot write the result: {error}")),
    }
}
