//! Lists and structs of JSON files: values are kept as they came and become an array all at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use serde_json::{Map, Value};

use super::columns::Fault;

/// A nested column under construction.
#[derive(Debug)]
pub(crate) struct Nested {
    field: Field,
    rows: Vec<Value>,
}

impl Nested {
    /// An empty column of `field`'s type.
    pub(crate) fn new(field: &Field) -> Self {
        // Whether a null may be shown is checked where the row is; a row that is left out may well have one.
        Self { field: field.clone().with_nullable(true), rows: Vec::new() }
    }

    /// Appends what a cell without structure says: nothing, or nothing that fits.
    pub(crate) fn push_text(&mut self, text: &[u8], not_null: bool) -> Result<(), Fault> {
        self.rows.push(Value::Null);
        match text.is_empty() {
            true if not_null => Err(Fault::Null),
            true => Ok(()),
            false => Err(Fault::Type),
        }
    }

    /// Appends the value that is written as `json`; a null if it does not fit.
    pub(crate) fn push(&mut self, json: &str) -> Result<(), Fault> {
        let value = serde_json::from_str(json).ok().filter(|value| fits(value, self.field.data_type()));
        let does_fit = value.is_some();
        self.rows.push(value.unwrap_or_default());
        if does_fit { Ok(()) } else { Err(Fault::Type) }
    }

    /// The rows so far. The column is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let name = self.field.name();
        let rows: Vec<Value> =
            self.rows.drain(..).map(|value| Value::Object(Map::from_iter([(name.clone(), value)]))).collect();
        if rows.is_empty() {
            return Ok(new_empty_array(self.field.data_type()));
        }
        let schema = Arc::new(Schema::new(vec![self.field.clone()]));
        let mut decoder = ReaderBuilder::new(schema).with_batch_size(rows.len()).build_decoder()?;
        decoder.serialize(&rows)?;
        let batch = decoder.flush()?;
        batch.map(|batch| batch.column(0).clone()).ok_or_else(|| ArrowError::JsonError(format!("no rows in `{name}`")))
    }
}

fn fits(value: &Value, data_type: &DataType) -> bool {
    match (value, data_type) {
        (Value::Null, _)
        | (Value::Bool(_), DataType::Boolean)
        | (Value::Number(_), DataType::Float64)
        | (Value::String(_), DataType::Utf8) => true,
        (Value::Number(number), DataType::Int64) => number.is_i64(),
        (Value::Array(items), DataType::List(item)) => items.iter().all(|value| fits(value, item.data_type())),
        (Value::Object(values), DataType::Struct(fields)) => {
            fields.iter().all(|field| values.get(field.name()).is_none_or(|value| fits(value, field.data_type())))
        }
        _ => false,
    }
}
