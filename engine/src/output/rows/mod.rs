//! Rows of a query on their way to standard output or a file, batch by batch, in any form.

mod table;
mod writers;

use std::io::Write;

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

/// The writer of `format` for rows of `schema`.
pub(crate) fn row_writer<'a>(
    format: OutputFormat,
    schema: SchemaRef,
    out: impl Write + 'a,
) -> Result<Box<dyn RowWriter + 'a>, Failure> {
    Ok(match format {
        OutputFormat::Table => Box::new(table::TableWriter::new(schema, out)),
        OutputFormat::Json => Box::new(writers::JsonArray::new(out)),
        OutputFormat::Jsonl => Box::new(writers::JsonLines::new(out)),
        OutputFormat::Csv => Box::new(writers::Csv::new(schema, out)?),
        OutputFormat::Arrow => Box::new(writers::ArrowStream::new(&schema, out)?),
    })
}

/// A reader who went away is told apart from data that cannot be written.
fn arrow_failure(error: ArrowError) -> Failure {
    match error {
        ArrowError::IoError(_, error) => error.into(),
        error => Failure::failed(format!("cannot write the result: {error}")),
    }
}
