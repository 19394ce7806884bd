//! Parquet files.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::new_null_array;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::add_encoded_arrow_schema_to_metadata;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::basic::{Compression as Codec, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::schema::plain_schema;
use super::{Encoder, OutputBuffer, fatal};
use crate::error::TaskError;
use crate::sink::spec::Compression;

/// Rows of a row group, unless memory ends it sooner.
const ROW_GROUP_ROWS: usize = 1 << 20;

pub(super) struct ParquetEncoder {
    writer: ArrowWriter<OutputBuffer>,
}

impl ParquetEncoder {
    pub(super) fn new(schema: &SchemaRef, compression: Compression, output: OutputBuffer) -> Result<Self, TaskError> {
        Ok(Self { writer: parquet_writer(schema, compression, output)? })
    }
}

/// Writes one Parquet file that every reader understands.
///
/// # Errors
/// A compression or a type that Parquet does not have.
pub fn parquet_writer<W: Write + Send>(
    schema: &SchemaRef,
    compression: Compression,
    output: W,
) -> Result<ArrowWriter<W>, TaskError> {
    let mut properties = WriterProperties::builder()
        .set_compression(codec(compression)?)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(concat!("tandem ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    // Views and dictionaries are encoded as they are; the schema that the file declares to Arrow readers has neither.
    add_encoded_arrow_schema_to_metadata(&plain_schema(schema), &mut properties);
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(output, schema.clone(), options).map_err(fatal)
}

/// Whether Parquet files can hold columns of this type. One row is tried: some types have a place in the schema, and no values.
pub fn parquet_can_hold(data_type: &DataType) -> bool {
    let schema = Arc::new(Schema::new(vec![Field::new("column", data_type.clone(), true)]));
    let row = RecordBatch::try_new(schema.clone(), vec![new_null_array(data_type, 1)]).map_err(fatal);
    row.and_then(|row| parquet_writer(&schema, Compression::None, io::sink())?.write(&row).map_err(fatal)).is_ok()
}

fn codec(compression: Compression) -> Result<Codec, TaskError> {
    Ok(match compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).map_err(fatal)?),
        Compression::Gzip => Codec::GZIP(GzipLevel::default()),
        Compression::Lz4 => Codec::LZ4_RAW,
    })
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        self.writer.write(batch).map_err(fatal)
    }

    fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }

    fn pending_bytes(&self) -> usize {
        self.writer.in_progress_size()
    }

    fn relieve(&mut self) -> Result<(), TaskError> {
        self.writer.flush().map_err(fatal)
    }

    fn finish(self: Box<Self>) -> Result<(), TaskError> {
        self.writer.close().map(drop).map_err(fatal)
    }
}
