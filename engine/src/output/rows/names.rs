//! Rows in a form that knows columns by their names: names that come again get numbers.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::{RowWriter, arrow_failure};
use crate::cli::Failure;

/// `schema` with `a`, `b`, `a_1` for columns `a`, `b`, `a`; none when each name comes once.
pub(super) fn numbered(schema: &Schema) -> Option<SchemaRef> {
    let mut taken: HashSet<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    if taken.len() == schema.fields().len() {
        return None;
    }
    let mut seen = HashSet::new();
    let rename = |field: &FieldRef| {
        if seen.insert(field.name().clone()) {
            return field.clone();
        }
        let mut number = 1;
        let named = |number: u64| format!("{}_{number}", field.name());
        while !taken.insert(named(number)) {
            number += 1;
        }
        Arc::new(field.as_ref().clone().with_name(named(number)))
    };
    let fields: Vec<FieldRef> = schema.fields().iter().map(rename).collect();
    Some(Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone())))
}

/// Gives the columns of its rows the names of `schema`.
pub(super) struct Renamed<'a> {
    pub(super) schema: SchemaRef,
    pub(super) writer: Box<dyn RowWriter + 'a>,
}

impl RowWriter for Renamed<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &rows);
        self.writer.write(&batch.map_err(arrow_failure)?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.writer.finish()
    }
}
