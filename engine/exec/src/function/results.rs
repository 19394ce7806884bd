//! Rows that a function gave, held against the columns that its step has declared.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::runner::FunctionError;

/// `batch` with exactly the columns of `schema`. Columns are told by their place; kinds of strings and lists are changed
/// into the ones that the plan has.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, FunctionError> {
    let given = batch.schema();
    let names = |fields: &[Arc<Field>]| fields.iter().map(|field| field.name().clone()).collect::<Vec<_>>().join(", ");
    if given.fields().len() != schema.fields().len()
        || given.fields().iter().zip(schema.fields()).any(|(given, declared)| given.name() != declared.name())
    {
        return Err(FunctionError::Mismatch(format!(
            "it gave the columns {}, the step has declared {}",
            names(given.fields()),
            names(schema.fields())
        )));
    }
    let columns =
        batch.columns().iter().zip(schema.fields()).map(|(column, declared)| conform_column(column, declared));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
        .map_err(|error| FunctionError::Mismatch(format!("it gave rows that do not fit the step's columns: {error}")))
}

fn conform_column(column: &ArrayRef, declared: &Field) -> Result<ArrayRef, FunctionError> {
    if column.data_type() == declared.data_type() {
        return Ok(Arc::clone(column));
    }
    if !is_alike(column.data_type(), declared.data_type()) {
        return Err(FunctionError::Mismatch(format!(
            "column `{}` is of type {}, the step has declared {}",
            declared.name(),
            column.data_type(),
            declared.data_type()
        )));
    }
    cast(column, declared.data_type())
        .map_err(|error| FunctionError::Mismatch(format!("column `{}`: {error}", declared.name())))
}

/// Whether values of both types are the same values, kept in another way.
fn is_alike(one: &DataType, other: &DataType) -> bool {
    use DataType::{Binary, BinaryView, LargeBinary, LargeList, LargeUtf8, List, Struct, Utf8, Utf8View};
    let is_string = |kind: &DataType| matches!(kind, Utf8 | LargeUtf8 | Utf8View);
    let is_binary = |kind: &DataType| matches!(kind, Binary | LargeBinary | BinaryView);
    match (one, other) {
        (List(a) | LargeList(a), List(b) | LargeList(b)) => is_alike(a.data_type(), b.data_type()),
        (Struct(a), Struct(b)) => {
            let pairs = a.iter().zip(b);
            a.len() == b.len()
                && pairs.into_iter().all(|(a, b)| a.name() == b.name() && is_alike(a.data_type(), b.data_type()))
        }
        _ => one == other || (is_string(one) && is_string(other)) || (is_binary(one) && is_binary(other)),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Schema;

    use super::*;

    fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
        let fields = fields.iter().map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn batch() -> RecordBatch {
        let (a, b): (ArrayRef, ArrayRef) =
            (Arc::new(Int64Array::from(vec![Some(1), None])), Arc::new(StringArray::from(vec!["x", "y"])));
        RecordBatch::try_from_iter([("a", a), ("b", b)]).unwrap()
    }

    #[test]
    fn strings_of_another_kind_are_changed() {
        let declared = schema(&[("a", DataType::Int64, true), ("b", DataType::Utf8View, true)]);
        let conformed = conform(&batch(), &declared).unwrap();
        assert_eq!(conformed.schema(), declared);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (declared, expected) in [
            (schema(&[("a", DataType::Int64, true)]), "gave the columns a, b, the step has declared a"),
            (schema(&[("a", DataType::Int64, true), ("c", DataType::Utf8, true)]), "declared a, c"),
            (schema(&[("a", DataType::Int32, true), ("b", DataType::Utf8, true)]), "column `a` is of type Int64"),
            (schema(&[("a", DataType::Int64, false), ("b", DataType::Utf8, true)]), "'a'"),
        ] {
            let error = conform(&batch(), &declared).unwrap_err();
            assert!(matches!(&error, FunctionError::Mismatch(text) if text.contains(expected)), "{error}");
        }
    }
}
