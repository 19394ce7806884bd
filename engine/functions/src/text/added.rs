//! Columns behind those of the input.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::CallError;

/// The columns of `input` and then `added`.
pub(super) fn schema(input: &Schema, added: &[Field]) -> Result<SchemaRef, CallError> {
    let taken = added.iter().find(|field| input.fields().find(field.name()).is_some());
    if let Some(field) = taken {
        let name = field.name();
        return Err(CallError::Column(format!("there is a column `{name}` already; `output` names another one")));
    }
    let fields = input.fields().iter().cloned().chain(added.iter().cloned().map(Arc::new));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The rows of `batch` with more columns.
pub(super) fn columns(batch: &RecordBatch, added: &[Field], arrays: Vec<ArrayRef>) -> Result<RecordBatch, CallError> {
    let columns = batch.columns().iter().cloned().chain(arrays).collect();
    Ok(RecordBatch::try_new(schema(batch.schema_ref(), added)?, columns)?)
}
