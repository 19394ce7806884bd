//! The columns of an analysed product.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::error::CallError;

/// Its metrics.
pub(super) fn metrics_fields() -> Fields {
    Fields::from(vec![
        Field::new("total_revenue", DataType::Float64, true),
        Field::new("total_quantity", DataType::Int64, true),
        Field::new("avg_quantity", DataType::Float64, true),
        Field::new("avg_order_value", DataType::Float64, true),
        Field::new("revenue_per_unit", DataType::Float64, true),
    ])
}

/// All of it.
pub(super) fn fields() -> Fields {
    Fields::from(vec![
        Field::new("product", DataType::Utf8, true),
        Field::new("category", DataType::Utf8, true),
        Field::new("recommendation", DataType::Utf8, true),
        Field::new("metrics", DataType::Struct(metrics_fields()), true),
    ])
}

/// Products as rows.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(fields()))
}

/// Refuses rows that are not analysed products.
pub(super) fn check(input: &Schema) -> Result<(), CallError> {
    let is_same = |(given, wanted): (&Arc<Field>, &Arc<Field>)| {
        given.name() == wanted.name() && given.data_type() == wanted.data_type()
    };
    let wanted = fields();
    if input.fields().len() == wanted.len() && input.fields().iter().zip(&wanted).all(is_same) {
        return Ok(());
    }
    Err(CallError::Column("its rows must be those that `product-analysis` gives".to_owned()))
}
