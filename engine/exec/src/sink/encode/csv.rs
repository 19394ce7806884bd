//! CSV: values between commas, under a header line.
//!
//! Null is nothing and an empty text is `""`, so that readers can tell them apart. In a file of one column, null is an empty
//! line.

use std::io::Write;

use arrow::array::Array;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::text::Packer;
use super::{Encoder, fatal};
use crate::error::TaskError;

/// A CSV file that may be compressed.
pub(super) struct CsvEncoder {
    packer: Packer,
}

impl CsvEncoder {
    pub(super) fn new(schema: &SchemaRef, mut packer: Packer) -> Result<Self, TaskError> {
        packer.write_all(csv_header(schema).as_bytes()).map_err(fatal)?;
        Ok(Self { packer })
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        let rows = csv_rows(batch).map_err(fatal)?;
        self.packer.write_all(rows.as_bytes()).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        self.packer.memory_bytes()
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        self.packer.finish()
    }
}

/// The line that names the columns of `schema`.
pub fn csv_header(schema: &Schema) -> String {
    let mut line = String::new();
    for (place, field) in schema.fields().iter().enumerate() {
        if place > 0 {
            line.push(',');
        }
        push_value(field.name(), &mut line);
    }
    line.push('\n');
    line
}

/// A line for each row of `batch`.
///
/// # Errors
/// A column of lists, structs or maps, or a value that has no text.
pub fn csv_rows(batch: &RecordBatch) -> Result<String, ArrowError> {
    let options = FormatOptions::default();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for column in batch.columns() {
        if column.data_type().is_nested() {
            let what = format!("csv cannot hold a column of type {}", column.data_type());
            return Err(ArrowError::CsvError(what));
        }
        columns.push((column.logical_nulls(), ArrayFormatter::try_new(column, &options)?));
    }
    let (mut lines, mut value) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        for (place, (nulls, formatter)) in columns.iter().enumerate() {
            if place > 0 {
                lines.push(',');
            }
            if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                value.clear();
                let written = formatter.value(row).write(&mut value);
                written.map_err(|error| ArrowError::CsvError(format!("row {row}: {error}")))?;
                push_value(&value, &mut lines);
            }
        }
        lines.push('\n');
    }
    Ok(lines)
}

/// Appends a value that is not null, in quotes where it needs them.
fn push_value(value: &str, line: &mut String) {
    let is_special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    if !value.is_empty() && !value.bytes().any(is_special) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for (place, piece) in value.split('"').enumerate() {
        if place > 0 {
            line.push_str("\"\"");
        }
        line.push_str(piece);
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int32Type};

    use super::*;

    #[test]
    fn null_is_nothing_and_empty_text_is_quoted() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("a,\"b\"\nc")]));
        let codes: ArrayRef =
            Arc::new([Some("k"), None, Some(""), Some("k")].into_iter().collect::<DictionaryArray<Int32Type>>());
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(-3), Some(4)]));
        let batch = RecordBatch::try_from_iter([("t", texts.clone()), ("c", codes), ("n", numbers)]).unwrap();
        assert_eq!(csv_rows(&batch).unwrap(), "x,k,1\n\"\",,\n,\"\",-3\n\"a,\"\"b\"\"\nc\",k,4\n");
        let alone = RecordBatch::try_from_iter([("t", texts)]).unwrap();
        assert_eq!(csv_rows(&alone.slice(0, 3)).unwrap(), "x\n\"\"\n\n");
        let schema = Schema::new(vec![Field::new("", DataType::Int64, true), Field::new("a,b", DataType::Int64, true)]);
        assert_eq!(csv_header(&schema), "\"\",\"a,b\"\n");
    }

    proptest::proptest! {
        #[test]
        fn values_are_written_as_arrow_writes_them(texts in proptest::collection::vec("[a,\"\n\r é]{1,6}", 1..6), seed: u64) {
            let numbers = (0..texts.len()).map(|n| f64::from_bits(seed.rotate_left(n as u32)));
            let numbers: ArrayRef = Arc::new(Float64Array::from_iter_values(numbers));
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
            let batch = RecordBatch::try_from_iter([("t", texts), ("n", numbers)]).unwrap();
            let mut expected = Vec::new();
            arrow::csv::Writer::new(&mut expected).write(&batch).unwrap();
            let found = csv_header(&batch.schema()) + &csv_rows(&batch).unwrap();
            proptest::prop_assert_eq!(found, String::from_utf8(expected).unwrap());
        }
    }
}
