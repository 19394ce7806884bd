//! One table of Parquet or Arrow files that are not quite alike: written over time, with columns added, or numbers made wider.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::logical_expr::type_coercion::binary::type_union_resolution;

use super::spec::SourceSpec;
use crate::error::PlanError;
use crate::storage::FileEntry;

/// The columns of all `files`, by their names: those of the first, then what others add. A column that some lack is null there.
///
/// # Errors
/// A column whose types have none in common that holds the values of both.
pub(super) fn columns_of_all(
    spec: &SourceSpec,
    files: &[FileEntry],
    schemas: &[SchemaRef],
) -> Result<Schema, PlanError> {
    let mut columns: Vec<FieldRef> = schemas[0].fields().iter().cloned().collect();
    let others = files.iter().zip(schemas).filter(|(_, schema)| schema.fields() != schemas[0].fields());
    for (file, schema) in others {
        for column in &mut columns {
            *column = match schema.field_with_name(column.name()) {
                Ok(other) => both(column, other).ok_or_else(|| differ(spec, files, schemas, file, other))?,
                Err(_) => nullable(column),
            };
        }
        for field in schema.fields() {
            if !columns.iter().any(|column| column.name() == field.name()) {
                columns.push(nullable(field));
            }
        }
    }
    Ok(Schema::new(columns).with_metadata(schemas[0].metadata().clone()))
}

/// The places in `table` of the columns that have another type in `file`.
pub(super) fn of_other_types(table: &Schema, file: &Schema) -> Vec<usize> {
    let differs = |field: &Field| {
        file.field_with_name(field.name()).is_ok_and(|of_file| of_file.data_type() != field.data_type())
    };
    if table.fields() == file.fields() {
        return Vec::new();
    }
    let fields = table.fields().iter().enumerate();
    fields.filter(|(_, field)| differs(field)).map(|(place, _)| place).collect()
}

fn nullable(field: &FieldRef) -> FieldRef {
    if field.is_nullable() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_nullable(true)) }
}

/// A column that holds the values of both.
fn both(one: &FieldRef, other: &Field) -> Option<FieldRef> {
    let mut merged = one.as_ref().clone();
    if merged.try_merge(other).is_err() {
        merged.set_data_type(wider(one.data_type(), other.data_type())?);
        merged.set_nullable(one.is_nullable() || other.is_nullable());
    }
    Some(if merged == **one { Arc::clone(one) } else { Arc::new(merged) })
}

/// A type that holds the values of both, if they are of one kind.
fn wider(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{Float64, Timestamp};
    match (one, other) {
        (Timestamp(unit, zone), Timestamp(other_unit, other_zone)) if zone == other_zone => {
            Some(Timestamp(*unit.max(other_unit), zone.clone()))
        }
        _ if one.is_numeric() && other.is_numeric() && one.is_floating() != other.is_floating() => Some(Float64),
        _ if (one.is_numeric() && other.is_numeric()) || (one.is_string() && other.is_string()) => {
            type_union_resolution(&[one.clone(), other.clone()])
        }
        _ => None,
    }
}

fn differ(spec: &SourceSpec, files: &[FileEntry], schemas: &[SchemaRef], file: &FileEntry, field: &Field) -> PlanError {
    let first = schemas.iter().position(|schema| schema.field_with_name(field.name()).is_ok()).unwrap_or_default();
    let of_first = schemas[first].field_with_name(field.name()).map_or(&DataType::Null, Field::data_type);
    let name = field.name();
    let what = format!("column `{name}` is {of_first} in {} and {} in {file}", files[first], field.data_type());
    spec.invalid(&what, "make a source of each, and UNION ALL them with a CAST in a step")
}
