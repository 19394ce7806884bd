//! A Parquet file whose row groups are encoded apart from each other and appended in order.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::GenerateError;

/// A file under way. What it writes is taken out piece by piece.
pub(super) struct ParquetFile {
    writer: SerializedFileWriter<Drain>,
    written: Drain,
    encoder: RowGroupEncoder,
}

/// Encodes row groups of one file, on any thread.
#[derive(Clone)]
pub(super) struct RowGroupEncoder {
    factory: Arc<ArrowRowGroupWriterFactory>,
    schema: SchemaRef,
}

/// An encoded row group.
pub(super) struct RowGroup {
    columns: Vec<ArrowColumnChunk>,
    rows: u64,
}

impl ParquetFile {
    pub(super) fn new(schema: SchemaRef) -> Result<Self, GenerateError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            // What wrote the file must not change its bytes.
            .set_created_by("tandem".to_owned())
            .build();
        let written = Drain::default();
        let writer = ArrowWriter::try_new(written.clone(), schema.clone(), Some(properties))?;
        let (writer, factory) = writer.into_serialized_writer()?;
        Ok(Self { writer, written, encoder: RowGroupEncoder { factory: Arc::new(factory), schema } })
    }

    pub(super) fn encoder(&self) -> RowGroupEncoder {
        self.encoder.clone()
    }

    /// Appends a row group; returns the bytes that the file grew by and the rows.
    pub(super) fn append(&mut self, group: RowGroup) -> Result<(Vec<u8>, u64), GenerateError> {
        let mut writer = self.writer.next_row_group()?;
        for column in group.columns {
            column.append_to_row_group(&mut writer)?;
        }
        writer.close()?;
        self.writer.flush().map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok((self.written.take(), group.rows))
    }

    /// Ends the file; returns its last bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, GenerateError> {
        self.writer.finish()?;
        Ok(self.written.take())
    }
}

impl RowGroupEncoder {
    pub(super) fn encode(&self, index: usize, batches: &[RecordBatch]) -> Result<RowGroup, GenerateError> {
        let mut columns = self.factory.create_column_writers(index)?;
        let mut rows = 0;
        for batch in batches {
            rows += batch.num_rows() as u64;
            let mut writers = columns.iter_mut();
            for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
                for (leaf, writer) in compute_leaves(field, array)?.iter().zip(&mut writers) {
                    writer.write(leaf)?;
                }
            }
        }
        let columns = columns.into_iter().map(|column| column.close()).collect::<Result<_, _>>()?;
        Ok(RowGroup { columns, rows })
    }
}

/// Bytes that were written and not yet taken.
#[derive(Debug, Clone, Default)]
struct Drain(Arc<Mutex<Vec<u8>>>);

impl Drain {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Drain {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
