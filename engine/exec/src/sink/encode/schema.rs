//! The column types that files have, and which formats can hold them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::parquet::parquet_can_hold;
use crate::error::PlanError;
use crate::sink::spec::{SinkFormat, SinkSpec};

/// The schema of a file's columns. They are nullable whatever the plan knows, so that files of one table agree, and carry no metadata of
/// the plan.
pub(in crate::sink) fn file_schema(schema: &Schema, left_out: &[usize]) -> SchemaRef {
    let fields = schema.fields().iter().enumerate().filter(|(index, _)| !left_out.contains(index));
    let fields = fields.map(|(_, field)| Field::new(field.name(), field.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

/// Whether files of `spec` can hold columns of `schema`.
pub(in crate::sink) fn check_format(spec: &SinkSpec, schema: &Schema) -> Result<(), PlanError> {
    let refuse = |field: &Field, help: &str| {
        let format = spec.format.extension();
        Err(spec
            .invalid(&format!("{format} cannot hold column `{}` of type {}", field.name(), field.data_type()), help))
    };
    for field in schema.fields() {
        match spec.format {
            SinkFormat::Csv if field.data_type().is_nested() => return refuse(field, "use jsonl or parquet"),
            SinkFormat::Parquet if !parquet_can_hold(field.data_type()) => {
                return refuse(field, "cast it in the last step, for example to a string");
            }
            SinkFormat::Csv | SinkFormat::Json | SinkFormat::Jsonl
                if matches!(field.data_type(), DataType::Union(..)) =>
            {
                return refuse(field, "cast it in the last step, for example to a string");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether readers take columns of `a` and `b` for the same: in which form they get texts and bytes is theirs to say.
pub(in crate::sink) fn same_type(a: &DataType, b: &DataType) -> bool {
    let form = |data_type: &DataType| match plain_type(data_type) {
        DataType::LargeUtf8 => DataType::Utf8,
        DataType::LargeBinary => DataType::Binary,
        other => other,
    };
    form(a).equals_datatype(&form(b))
}

/// `schema` with the types that every reader of Arrow data knows: no views, dictionaries or run ends.
pub(super) fn plain_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(plain_field).collect::<Fields>()))
}

/// `batch` with the types of [`plain_schema`].
pub(super) fn plain_batch(batch: &RecordBatch, plain: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(plain.fields());
    let columns: Result<Vec<ArrayRef>, _> =
        columns
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    Ok(column.clone())
                } else {
                    cast(column, field.data_type())
                }
            })
            .collect();
    RecordBatch::try_new(plain.clone(), columns?)
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::List(item) | DataType::ListView(item) => DataType::List(plain_field(item)),
        DataType::LargeList(item) | DataType::LargeListView(item) => DataType::LargeList(plain_field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain_field(item), *size),
        DataType::Map(entries, sorted) => DataType::Map(plain_field(entries), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}
