//! Rows under construction: typed columns, the rows among them that are bad, and what becomes of those.
//! Owned by a decoder. Invariant: all columns are equally long between two calls.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;

use super::columns::{Cell, Column, Fault};
use super::spec::OnBadRow;
use crate::error::PlanError;

/// Of a bad row's text, at most this much is kept.
const MAX_RAW_BYTES: usize = 64 << 10;

/// Cells of a batch, so that a file of very many columns, most of them empty, does not fill the memory.
const MAX_BATCH_CELLS: usize = 4 << 20;

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadRow {
    /// The line of the file it starts on.
    pub(crate) line: u64,
    /// The column at fault; none when it is the row as a whole.
    pub(crate) column: Option<String>,
    /// What is wrong.
    pub(crate) reason: String,
    /// Its text.
    pub(crate) raw: String,
}

impl BadRow {
    /// A row whose text is not even cut into cells.
    pub(crate) fn whole(line: u64, reason: impl Into<String>, raw: &[u8]) -> Self {
        Self { line, column: None, reason: reason.into(), raw: shortened(raw) }
    }
}

fn shortened(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(MAX_RAW_BYTES)]).into_owned()
}

/// What a decoder gives.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// Rows, and the bad ones met since the last batch.
    Batch(RecordBatch, Vec<BadRow>),
    /// Nothing until it is given more input.
    NeedInput,
    /// Nothing more.
    End,
}

/// Turns bytes of a text format into batches.
pub(crate) trait Decoder: Send {
    /// Gives it the next bytes. Call when it asks for input.
    fn push(&mut self, bytes: &[u8]);
    /// Tells it that there are no more bytes.
    fn end(&mut self);
    /// Bytes of an unfinished record, which are looked at again when more come.
    fn unfinished(&self) -> usize;
    /// The next batch.
    fn decode(&mut self) -> Result<Decoded, ArrowError>;
}

/// Which columns a decoder makes and how.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// All columns of the table.
    pub(crate) table: SchemaRef,
    /// The columns of a batch, as places in `table`.
    pub(crate) projection: Vec<usize>,
    /// What becomes of bad rows.
    pub(crate) on_bad_row: OnBadRow,
    /// Rows of a full batch.
    pub(crate) batch_rows: usize,
}

impl Shape {
    /// Columns whose cells are looked at, in the table's order. Where rejects are kept that is all of them, so that the
    /// same rows are rejected whatever a query asks for.
    pub(crate) fn read_columns(&self) -> Vec<usize> {
        let wanted = |column: &usize| self.on_bad_row == OnBadRow::Reject || self.projection.contains(column);
        (0..self.table.fields().len()).filter(wanted).collect()
    }
}

/// Columns that grow until they are a batch.
#[derive(Debug)]
pub(crate) struct RowBuilder {
    schema: SchemaRef,
    columns: Vec<Column>,
    names: Vec<String>,
    /// For each column of a batch, its place in `columns`.
    output: Vec<usize>,
    on_bad_row: OnBadRow,
    rows: usize,
    /// Rows that a batch leaves out, ascending.
    dropped: Vec<usize>,
    bad: Vec<BadRow>,
    batch_rows: usize,
}

/// A cell that could not be read: row within the rows being added, place of the column, and why.
pub(crate) type CellFault = (usize, usize, Fault);

impl RowBuilder {
    /// No rows yet.
    pub(crate) fn new(shape: &Shape) -> Result<Self, PlanError> {
        let read = shape.read_columns();
        let mut columns = Vec::with_capacity(read.len());
        let batch_rows = shape.batch_rows.min(MAX_BATCH_CELLS / read.len().max(1)).max(1);
        for &column in &read {
            let field = shape.table.field(column);
            let is_output = shape.projection.contains(&column);
            let make = if is_output { Column::new } else { Column::checked };
            columns.push(make(field, batch_rows)?);
        }
        let place = |column: &usize| read.iter().position(|other| other == column);
        let output = shape.projection.iter().filter_map(place).collect();
        let fields: Vec<_> = shape.projection.iter().map(|&column| shape.table.fields()[column].clone()).collect();
        let names = read.iter().map(|&column| shape.table.field(column).name().clone()).collect();
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            names,
            output,
            on_bad_row: shape.on_bad_row,
            rows: 0,
            dropped: Vec::new(),
            bad: Vec::new(),
            batch_rows,
        })
    }

    /// The columns that rows are added to, each of which the caller extends by the same number of cells.
    pub(crate) fn columns(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// Rows until the batch is full.
    pub(crate) fn room(&self) -> usize {
        self.batch_rows - self.rows
    }

    /// Whether bad rows are kept with nulls.
    pub(crate) fn keeps_bad_rows(&self) -> bool {
        self.on_bad_row == OnBadRow::Null
    }

    /// Remembers a row that was not added to the columns.
    pub(crate) fn push_bad(&mut self, row: BadRow) {
        self.bad.push(row);
    }

    /// Says that each column grew by `rows`, with `faults` in them. `describe` gives a row's line and text, `cell` the
    /// text of one of its cells.
    pub(crate) fn added<'a>(
        &mut self,
        rows: usize,
        mut faults: Vec<CellFault>,
        describe: impl Fn(usize) -> (u64, &'a [u8]),
        cell: impl Fn(usize, usize) -> &'a [u8],
    ) {
        let first = self.rows;
        self.rows += rows;
        if self.on_bad_row == OnBadRow::Null {
            return;
        }
        faults.sort_by_key(|&(row, column, _)| (row, column));
        faults.dedup_by_key(|&mut (row, ..)| row);
        for (row, column, fault) in faults {
            self.dropped.push(first + row);
            let (line, raw) = describe(row);
            let reason = fault.reason(cell(row, column), self.columns[column].data_type());
            self.bad.push(BadRow { line, column: Some(self.names[column].clone()), reason, raw: shortened(raw) });
        }
    }

    /// The batch, if it is full or `flush` asks for what there is.
    pub(crate) fn take(&mut self, flush: bool) -> Result<Option<(RecordBatch, Vec<BadRow>)>, ArrowError> {
        let is_due = self.room() == 0 || self.bad.len() >= self.batch_rows;
        if !is_due && !(flush && (self.rows > 0 || !self.bad.is_empty())) {
            return Ok(None);
        }
        let rows = std::mem::take(&mut self.rows);
        let arrays: Vec<Option<ArrayRef>> = self.columns.iter_mut().map(Column::finish).collect::<Result<_, _>>()?;
        let output = self.output.iter().filter_map(|&column| arrays[column].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        // The builders follow the table's nullability only once bad rows are gone.
        let loose: Vec<_> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let mut batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(loose)), output, &options)?;
        if !self.dropped.is_empty() {
            let mut keep = vec![true; rows];
            for row in self.dropped.drain(..) {
                keep[row] = false;
            }
            batch = filter_record_batch(&batch, &BooleanArray::from(keep))?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &options)?;
        let mut bad = std::mem::take(&mut self.bad);
        bad.sort_by_key(|row| row.line);
        Ok(Some((batch, bad)))
    }
}

/// A cell of a format that has no quotes around nulls.
pub(crate) fn text_cell(text: &str) -> Cell<'_> {
    Cell { text: text.as_bytes(), utf8: Some(text), quoted: true }
}

/// The cell of a row that has none for a column.
pub(crate) const NO_CELL: Cell<'static> = Cell { text: b"", utf8: Some(""), quoted: false };
