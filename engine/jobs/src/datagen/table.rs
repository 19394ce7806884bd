//! One table that is generated in pieces. A piece depends on the spec and its number alone, so pieces are made in any
//! order, by any thread, and put together in order.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Format, GenerateError};

/// Rows of one piece: a row group of a Parquet file, a few tens of megabytes of text.
pub(super) const ROWS_PER_PIECE: u64 = 1 << 18;

/// A table as pieces.
pub(super) trait Table: Send + Sync {
    /// The file's name without an extension.
    fn name(&self) -> &'static str;

    /// How many pieces there are.
    fn pieces(&self) -> u64 {
        self.rows().div_ceil(ROWS_PER_PIECE)
    }

    /// How many rows there will be, about.
    fn rows(&self) -> u64;

    /// The columns.
    fn schema(&self) -> SchemaRef;

    /// The rows of one piece.
    fn batches(&self, piece: u64) -> Result<Vec<RecordBatch>, GenerateError>;

    /// Appends the rows of one piece as text and returns their number.
    fn text(&self, piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError>;

    /// What a CSV file begins with.
    fn csv_header(&self) -> String {
        let names: Vec<String> = self.schema().fields().iter().map(|field| field.name().clone()).collect();
        names.join(",") + "\n"
    }
}

/// The rows of a piece of a table with `rows` rows.
pub(super) fn rows_of(piece: u64, rows: u64) -> std::ops::Range<u64> {
    piece * ROWS_PER_PIECE..rows.min((piece + 1) * ROWS_PER_PIECE)
}
