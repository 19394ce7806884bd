//! `sales-summary`: one row about all products.
//!
//! The best product is the first of those with the most revenue, the worst the first of those with the least; a product
//! without a revenue has less than any other. Without products there is neither.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::builder::Int64Builder;
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, MapBuilder, MapFieldNames, StringBuilder,
    StructArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat_batches, take};
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::product;
use crate::error::CallError;
use crate::work::Work;

/// It has no arguments.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoArgs {}

pub(super) fn plan(args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
    serde_json::from_str::<NoArgs>(args).map_err(|error| CallError::args(&error))?;
    product::check(input)?;
    Ok(schema())
}

pub(super) fn call(_args: &str, batches: &[RecordBatch], _: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
    let products = concat_batches(&product::schema(), batches)?;
    let products = StructArray::from(products);
    let revenue = revenues(&products)?;
    let one_row = |columns: Vec<ArrayRef>, fields: Fields| StructArray::try_new(fields, columns, None);
    // Not `sum`, which is -0.0 of nothing.
    let total = revenue.iter().flatten().fold(0.0, |total, revenue| total + revenue);
    let count = products.len();
    let mean = (count > 0).then(|| total / count as f64);
    let summary: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![count as i64])),
        Arc::new(Float64Array::from(vec![total])),
        Arc::new(Float64Array::from(vec![mean])),
        distribution(&products)?,
    ];
    let best = first_that(&revenue, Ordering::Greater);
    let worst = first_that(&revenue, Ordering::Less);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(one_row(summary, summary_fields())?),
        take(&products, &UInt64Array::from(vec![best]), None)?,
        take(&products, &UInt64Array::from(vec![worst]), None)?,
        Arc::new(ListArray::try_new(item(), OffsetBuffer::from_lengths([count]), Arc::new(products), None)?),
    ];
    Ok(vec![RecordBatch::try_new(schema(), columns)?])
}

fn revenues(products: &StructArray) -> Result<Float64Array, CallError> {
    let metrics = products.column_by_name("metrics").and_then(|metrics| metrics.as_struct_opt());
    let revenue = metrics.and_then(|metrics| metrics.column_by_name("total_revenue"));
    let revenue = revenue.and_then(|revenue| revenue.as_primitive_opt::<Float64Type>());
    revenue.cloned().ok_or_else(|| CallError::Column("there is no column `metrics.total_revenue`".to_owned()))
}

/// The place of the first revenue that compares like `wanted` with, or is equal to, all others.
fn first_that(revenue: &Float64Array, wanted: Ordering) -> Option<u64> {
    // Less than any revenue there is.
    let place = |(index, revenue): (usize, Option<f64>)| (index as u64, revenue.unwrap_or(f64::NEG_INFINITY));
    let first = |kept: (u64, f64), next: (u64, f64)| if next.1.total_cmp(&kept.1) == wanted { next } else { kept };
    revenue.iter().enumerate().map(place).reduce(first).map(|(index, _)| index)
}

/// How many products are in each class, for the classes there are, in the order in which they first occur.
fn distribution(products: &StructArray) -> Result<ArrayRef, CallError> {
    let categories = products.column_by_name("category").and_then(|column| column.as_string_opt::<i32>());
    let categories = categories.ok_or_else(|| CallError::Column("there is no column `category`".to_owned()))?;
    let mut counts: Vec<(&str, i64)> = Vec::new();
    for category in categories.iter().flatten() {
        match counts.iter_mut().find(|(known, _)| *known == category) {
            Some((_, count)) => *count += 1,
            None => counts.push((category, 1)),
        }
    }
    let names = MapFieldNames { entry: "entries".into(), key: "keys".into(), value: "values".into() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    for (category, count) in counts {
        map.keys().append_value(category);
        map.values().append_value(count);
    }
    map.append(true)?;
    Ok(Arc::new(map.finish()))
}

fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(product::fields()), true))
}

fn summary_fields() -> Fields {
    let entries =
        Fields::from(vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, true)]);
    let entries = Arc::new(Field::new("entries", DataType::Struct(entries), false));
    Fields::from(vec![
        Field::new("total_products", DataType::Int64, true),
        Field::new("total_revenue", DataType::Float64, true),
        Field::new("avg_revenue_per_product", DataType::Float64, true),
        Field::new("category_distribution", DataType::Map(entries, false), true),
    ])
}

fn schema() -> SchemaRef {
    let product = DataType::Struct(product::fields());
    Arc::new(Schema::new(vec![
        Field::new("summary", DataType::Struct(summary_fields()), true),
        Field::new("best_performer", product.clone(), true),
        Field::new("worst_performer", product, true),
        Field::new("all_products", DataType::List(item()), true),
    ]))
}
