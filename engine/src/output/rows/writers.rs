//! The forms for machines: thin covers over Arrow's own writers.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::json::writer::{JsonArray as ArrayFraming, JsonFormat, LineDelimited, Writer, WriterBuilder};

use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use tandem_exec::sink::{Compression, parquet_writer};

use super::{RowWriter, arrow_failure};
use crate::cli::Failure;

/// Memory that a row group may take before it is written.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// One JSON array of objects; nulls are written.
pub(super) struct JsonArray<W: Write>(Writer<W, ArrayFraming>);

/// One JSON object per line; nulls are written.
pub(super) struct JsonLines<W: Write>(Writer<W, LineDelimited>);

/// Comma-separated rows under a header, also when there is no row. Rows are encoded apart from being written, since the
/// encoder does not tell a reader who went away from data it cannot encode.
pub(super) struct Csv<W: Write>(W);

/// An Arrow IPC file.
pub(super) struct ArrowFile<W: Write>(FileWriter<W>);

/// A Parquet file.
pub(super) struct Parquet<W: Write + Send>(ArrowWriter<W>);

/// An Arrow IPC stream.
pub(super) struct ArrowStream<W: Write>(StreamWriter<W>);

fn json<W: Write, F: JsonFormat>(out: W) -> Writer<W, F> {
    WriterBuilder::new().with_explicit_nulls(true).build(out)
}

impl<W: Write> JsonArray<W> {
    pub(super) fn new(out: W) -> Self {
        Self(json(out))
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
        Self(json(out))
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
    pub(super) fn new(schema: SchemaRef, out: W) -> Result<Self, Failure> {
        let mut writer = Self(out);
        writer.encode(&RecordBatch::new_empty(schema), true)?;
        Ok(writer)
    }

    fn encode(&mut self, batch: &RecordBatch, header: bool) -> Result<(), Failure> {
        let mut text = Vec::new();
        csv::WriterBuilder::new().with_header(header).build(&mut text).write(batch).map_err(arrow_failure)?;
        Ok(self.0.write_all(&text)?)
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.encode(batch, false)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

impl<W: Write> ArrowFile<W> {
    pub(super) fn new(schema: &Schema, out: W) -> Result<Self, Failure> {
        Ok(Self(FileWriter::try_new(out, schema).map_err(arrow_failure)?))
    }
}

impl<W: Write> RowWriter for ArrowFile<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.0.write(batch).map_err(arrow_failure)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.finish().map_err(arrow_failure)?;
        Ok(self.0.get_mut().flush()?)
    }
}

impl<W: Write + Send> Parquet<W> {
    pub(super) fn new(schema: &SchemaRef, out: W) -> Result<Self, Failure> {
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
