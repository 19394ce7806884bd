//! The forms for machines: thin covers over the writers of sinks, so that a file is the same whoever writes it.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray as ArrayFraming, LineDelimited, Writer};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use tandem_exec::sink::{
    ArrowFileWriter, Compression, csv_header, csv_rows, json_writer, parquet_can_hold, parquet_writer,
};

use super::{RowWriter, arrow_failure};
use crate::cli::Failure;

/// Memory that a row group may take before it is written.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// One JSON array of objects; nulls are written.
pub(super) struct JsonArray<W: Write>(Writer<W, ArrayFraming>);

/// One JSON object per line; nulls are written.
pub(super) struct JsonLines<W: Write>(Writer<W, LineDelimited>);

/// Comma-separated rows under a header, also when there is no row.
pub(super) struct Csv<W: Write>(W);

/// An Arrow IPC file.
pub(super) struct ArrowFile<W: Write>(ArrowFileWriter<W>);

/// A Parquet file.
pub(super) struct Parquet<W: Write + Send>(ArrowWriter<W>);

/// An Arrow IPC stream.
pub(super) struct ArrowStream<W: Write>(StreamWriter<W>);

impl<W: Write> JsonArray<W> {
    pub(super) fn new(out: W) -> Self {
        Self(json_writer(out))
    }
}

impl<W: Write> RowWriter for JsonArray<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(arrow_failure)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(arrow_failure)?;
        self.0.get_mut().write_all(b"\n")?;
        Ok(self.0.get_mut().flush()?)
    }
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(out: W) -> Self {
        Self(json_writer(out))
    }
}

impl<W: Write> RowWriter for JsonLines<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(arrow_failure)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(arrow_failure)?;
        Ok(self.0.get_mut().flush()?)
    }
}

impl<W: Write> Csv<W> {
    pub(super) fn new(schema: &Schema, mut out: W) -> Result<Self, Failure> {
        out.write_all(csv_header(schema).as_bytes())?;
        Ok(Self(out))
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = csv_rows(batch).map_err(arrow_failure)?;
        Ok(self.0.write_all(rows.as_bytes())?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl<W: Write> ArrowFile<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Result<Self, Failure> {
        Ok(Self(ArrowFileWriter::try_new(schema, Compression::None, out).map_err(arrow_failure)?))
    }
}

impl<W: Write> RowWriter for ArrowFile<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(arrow_failure)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(arrow_failure)
    }
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(schema: &SchemaRef, out: W) -> Result<Self, Failure> {
        if let Some(field) = schema.fields().iter().find(|field| !parquet_can_hold(field.data_type())) {
            let (name, data_type) = (field.name(), field.data_type());
            return Err(Failure::usage(format!("parquet cannot hold column `{name}` of type {data_type}"))
                .with_help("cast it, for example to a string"));
        }
        parquet_writer(schema, Compression::Snappy, out).map(Self).map_err(|error| Failure::failed(error.to_string()))
    }
}

impl<W: Write + Send> RowWriter for Parquet<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(parquet_failure)?;
        if self.0.memory_size() > ROW_GROUP_BYTES { self.0.flush().map_err(parquet_failure) } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(parquet_failure)?;
        Ok(self.0.inner_mut().flush()?)
    }
}

fn parquet_failure(error: ParquetError) -> Failure {
    Failure::failed(format!("cannot write the result: {error}"))
}

impl<W: Write> ArrowStream<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Result<Self, Failure> {
        Ok(Self(StreamWriter::try_new(out, schema).map_err(arrow_failure)?))
    }
}

impl<W: Write> RowWriter for ArrowStream<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(arrow_failure)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(arrow_failure)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, DictionaryArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int32Type};
    use arrow::ipc::reader::FileReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

    use super::super::{OutputFormat, RowFormat, row_writer};
    use super::*;

    fn written(format: RowFormat, batches: &[RecordBatch]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = row_writer(format, batches[0].schema(), &mut out).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.finish().unwrap();
        drop(writer);
        out
    }

    /// Batches whose dictionaries differ.
    fn coded() -> Vec<RecordBatch> {
        let batch = |values: &[Option<&str>]| {
            let codes: ArrayRef = Arc::new(values.iter().copied().collect::<DictionaryArray<Int32Type>>());
            RecordBatch::try_from_iter_with_nullable([("code", codes, true)]).unwrap()
        };
        vec![batch(&[Some("a"), Some("b")]), batch(&[Some("c"), None, Some("")])]
    }

    #[test]
    fn an_arrow_file_takes_dictionaries_that_change() {
        let file = written(RowFormat::ArrowFile, &coded());
        let batches: Vec<RecordBatch> =
            FileReader::try_new(std::io::Cursor::new(file), None).unwrap().map(Result::unwrap).collect();
        let values = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().collect::<Vec<_>>());
        assert_eq!(values.collect::<Vec<_>>(), [Some("a"), Some("b"), Some("c"), None, Some("")]);
    }

    #[test]
    fn columns_of_one_name_are_numbered_where_names_are_keys() {
        let fields = ["a", "b", "a", "a_1", "b", "a"].map(|name| Field::new(name, DataType::Int64, false));
        let columns = (0..6).map(|value| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) });
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns.collect()).unwrap();
        let text =
            |format| String::from_utf8(written(RowFormat::Output(format), std::slice::from_ref(&batch))).unwrap();
        let object = r#"{"a":0,"b":1,"a_2":2,"a_1":3,"b_1":4,"a_3":5}"#;
        assert_eq!(text(OutputFormat::Jsonl), format!("{object}\n"));
        assert_eq!(text(OutputFormat::Json), format!("[{object}]\n"));
        assert_eq!(text(OutputFormat::Csv), "a,b,a,a_1,b,a\n0,1,2,3,4,5\n");
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&written(RowFormat::Parquet, &[batch])).unwrap();
        let mut read = ParquetRecordBatchReader::try_new(file, 10).unwrap();
        let names = read.next().unwrap().unwrap().schema();
        let names: Vec<_> = names.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", "b", "a_2", "a_1", "b_1", "a_3"]);
    }

    #[test]
    fn csv_tells_null_from_empty_text() {
        let text = String::from_utf8(written(RowFormat::Output(OutputFormat::Csv), &coded())).unwrap();
        assert_eq!(text, "code\na\nb\nc\n\n\"\"\n");
    }
}
