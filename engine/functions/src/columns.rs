//! Columns of a batch by name and type.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use arrow::record_batch::RecordBatch;

use crate::error::CallError;

/// What a column must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Number,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "a whole number",
            Self::Number => "a number",
        }
    }

    fn accepts(self, data_type: &DataType) -> bool {
        match self {
            Self::Text => data_type.is_string(),
            Self::Whole => data_type.is_integer(),
            Self::Number => data_type.is_numeric(),
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Whole => DataType::Int64,
            Self::Number => DataType::Float64,
        }
    }
}

/// Names the first of `wanted` that `schema` does not have.
pub(crate) fn check(schema: &Schema, wanted: &[(&str, Kind)]) -> Result<(), CallError> {
    wanted.iter().try_for_each(|(name, kind)| {
        let found = schema.fields().iter().find(|field| field.name() == name);
        match found.map(|field| field.data_type()) {
            Some(data_type) if kind.accepts(data_type) => Ok(()),
            Some(data_type) => {
                Err(CallError::Column(format!("column `{name}` must be {}, not {data_type}", kind.name())))
            }
            None => {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                Err(CallError::Column(format!("there is no column `{name}` among {}", names.join(", "))))
            }
        }
    })
}

/// The column `name`, of a batch whose columns were checked.
fn column(batch: &RecordBatch, name: &str, kind: Kind) -> Result<ArrayRef, CallError> {
    check(batch.schema_ref(), &[(name, kind)])?;
    let column = batch.column_by_name(name).ok_or_else(|| CallError::Column(format!("there is no column `{name}`")))?;
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(column, &kind.data_type(), &exact)?)
}

pub(crate) fn text(batch: &RecordBatch, name: &str) -> Result<StringArray, CallError> {
    Ok(column(batch, name, Kind::Text)?.as_string::<i32>().clone())
}

/// The value of one row, if it has one.
pub(crate) fn text_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

pub(crate) fn whole(batch: &RecordBatch, name: &str) -> Result<Int64Array, CallError> {
    Ok(column(batch, name, Kind::Whole)?.as_primitive::<Int64Type>().clone())
}

pub(crate) fn number(batch: &RecordBatch, name: &str) -> Result<Float64Array, CallError> {
    Ok(column(batch, name, Kind::Number)?.as_primitive::<Float64Type>().clone())
}
