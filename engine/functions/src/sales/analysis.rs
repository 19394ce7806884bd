//! `product-analysis`: each product's class, advice and derived metrics.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, StructArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::classes::Classes;
use super::product;
use crate::columns::{self, Kind};
use crate::error::CallError;
use crate::work::Work;

const INPUT: [(&str, Kind); 5] = [
    ("product", Kind::Text),
    ("total_revenue", Kind::Number),
    ("total_quantity", Kind::Whole),
    ("transaction_count", Kind::Whole),
    ("avg_quantity", Kind::Number),
];

pub(super) fn plan(args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
    Classes::parse(args)?;
    columns::check(input, &INPUT)?;
    Ok(product::schema())
}

pub(super) fn call(args: &str, batches: &[RecordBatch], _: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
    let classes = Classes::parse(args)?;
    batches.iter().map(|batch| analyse(&classes, batch)).collect()
}

fn analyse(classes: &Classes, batch: &RecordBatch) -> Result<RecordBatch, CallError> {
    let revenue = columns::number(batch, "total_revenue")?;
    let quantity = columns::whole(batch, "total_quantity")?;
    let transactions = columns::whole(batch, "transaction_count")?;
    let (categories, advice): (Vec<&str>, Vec<&str>) = revenue.iter().map(|revenue| classes.of(revenue)).unzip();
    let per = |counts: &Int64Array| -> ArrayRef {
        Arc::new(Float64Array::from_iter(revenue.iter().zip(counts).map(|(revenue, count)| ratio(revenue, count))))
    };
    let (order_value, unit_value) = (per(&transactions), per(&quantity));
    let metrics: Vec<ArrayRef> = vec![
        Arc::new(revenue.clone()),
        Arc::new(quantity.clone()),
        Arc::new(columns::number(batch, "avg_quantity")?),
        order_value,
        unit_value,
    ];
    let metrics = StructArray::try_new(product::metrics_fields(), metrics, None)?;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(columns::text(batch, "product")?),
        Arc::new(StringArray::from(categories)),
        Arc::new(StringArray::from(advice)),
        Arc::new(metrics),
    ];
    Ok(RecordBatch::try_new(product::schema(), columns)?)
}

/// Revenue for each of `count`; none for none, since nothing was sold that it could be the value of.
fn ratio(revenue: Option<f64>, count: Option<i64>) -> Option<f64> {
    let count = count.filter(|&count| count != 0)?;
    Some(revenue? / count as f64)
}
