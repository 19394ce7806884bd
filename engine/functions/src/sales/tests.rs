use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringViewArray};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::WriterBuilder;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use crate::{Work, find};

/// Products by name, revenue and quantity; each sold in two transactions.
fn sold(products: &[(&str, f64, i64)]) -> RecordBatch {
    let column = |values: Vec<i64>| -> ArrayRef { Arc::new(Int64Array::from(values)) };
    let names: ArrayRef = Arc::new(StringViewArray::from_iter_values(products.iter().map(|product| product.0)));
    let revenue: ArrayRef = Arc::new(Float64Array::from_iter_values(products.iter().map(|product| product.1)));
    let mean: ArrayRef = Arc::new(Float64Array::from_iter_values(products.iter().map(|p| p.2 as f64 / 2.0)));
    let quantity = column(products.iter().map(|product| product.2).collect());
    let transactions = column(products.iter().map(|_| 2).collect());
    RecordBatch::try_from_iter([
        ("product", names),
        ("total_revenue", revenue),
        ("total_quantity", quantity),
        ("transaction_count", transactions),
        ("avg_quantity", mean),
    ])
    .unwrap()
}

fn rows(batches: &[RecordBatch]) -> Vec<Value> {
    let mut text = Vec::new();
    let mut writer: LineDelimitedWriter<_> = WriterBuilder::new().with_explicit_nulls(true).build(&mut text);
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn analysed(batches: &[RecordBatch]) -> Vec<RecordBatch> {
    find("product-analysis").unwrap().call("{}", batches, &mut Work::default()).unwrap()
}

/// The summary of products that come in `batches`.
fn summed_up(batches: &[RecordBatch]) -> Value {
    let mut rows = rows(&find("sales-summary").unwrap().call("{}", &analysed(batches), &mut Work::default()).unwrap());
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

#[test]
fn a_product_is_classified_and_measured() {
    let found = rows(&analysed(&[sold(&[("a", 4725.0, 450), ("b", 10.0, 0)])]));
    assert_eq!(
        found[0],
        json!({
            "product": "a", "category": "High Performer", "recommendation": "Increase inventory and marketing",
            "metrics": {
                "total_revenue": 4725.0, "total_quantity": 450, "avg_quantity": 225.0,
                "avg_order_value": 2362.5, "revenue_per_unit": 10.5
            }
        })
    );
    assert_eq!(found[1]["category"], "Low Performer");
    assert_eq!(found[1]["metrics"]["revenue_per_unit"], Value::Null, "nothing was sold");
    assert_eq!(found[1]["metrics"]["avg_order_value"], 5.0);
}

#[test]
fn all_products_are_summed_up_in_their_order() {
    let found = summed_up(&[sold(&[("b", 7250.0, 290), ("a", 4725.0, 450)]), sold(&[("c", 2000.0, 10)])]);
    assert_eq!(
        found["summary"],
        json!({
            "total_products": 3, "total_revenue": 13975.0, "avg_revenue_per_product": 13975.0 / 3.0,
            "category_distribution": { "High Performer": 2, "Medium Performer": 1 }
        })
    );
    assert_eq!(found["best_performer"], found["all_products"][0]);
    assert_eq!(found["worst_performer"]["product"], "c");
    let order: Vec<&Value> = found["all_products"].as_array().unwrap().iter().map(|p| &p["product"]).collect();
    assert_eq!(order, ["b", "a", "c"]);
    let keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["summary", "best_performer", "worst_performer", "all_products"]);
}

#[test]
fn the_first_of_equal_products_is_best_or_worst() {
    let found = summed_up(&[sold(&[("m", 5.0, 1), ("a", 9.0, 1), ("b", 9.0, 1), ("z", 1.0, 1), ("c", 1.0, 1)])]);
    assert_eq!((&found["best_performer"]["product"], &found["worst_performer"]["product"]), (&json!("a"), &json!("z")));
    let found = summed_up(&[sold(&[("only", 5.0, 1)])]);
    assert_eq!(found["best_performer"], found["worst_performer"]);
}

#[test]
fn no_products_are_summed_up_too() {
    for batches in [vec![], vec![sold(&[])]] {
        let found = summed_up(&batches);
        assert_eq!(found["summary"]["total_revenue"].to_string(), "0.0");
        assert_eq!(
            found,
            json!({
                "summary": {
                    "total_products": 0, "total_revenue": 0.0, "avg_revenue_per_product": null,
                    "category_distribution": {}
                },
                "best_performer": null, "worst_performer": null, "all_products": []
            })
        );
    }
}

#[test]
fn what_is_planned_is_what_comes_out() {
    let (analysis, summary) = (find("product-analysis").unwrap(), find("sales-summary").unwrap());
    let batch = sold(&[("a", 1.0, 1)]);
    let products = analysis.output("{}", &batch.schema()).unwrap();
    assert_eq!(analysed(&[batch])[0].schema(), products);
    let planned = summary.output("{}", &products).unwrap();
    assert_eq!(summary.call("{}", &[], &mut Work::default()).unwrap()[0].schema(), planned);
}

#[test]
fn rows_of_another_kind_are_refused() {
    let (analysis, summary) = (find("product-analysis").unwrap(), find("sales-summary").unwrap());
    let schema = sold(&[]).schema();
    let without = schema.project(&[0, 1, 2, 3]).unwrap();
    let error = analysis.output("{}", &without).unwrap_err().to_string();
    assert!(error.contains("there is no column `avg_quantity` among product, total_revenue"), "{error}");
    let error = analysis.output(r#"{"hihg": 1}"#, &schema).unwrap_err().to_string();
    assert!(error.contains("unknown field `hihg`"), "{error}");
    let error = summary.output("{}", &schema).unwrap_err().to_string();
    assert!(error.contains("`product-analysis`"), "{error}");
    let error = summary.output(r#"{"top": 1}"#, &analysis.output("{}", &schema).unwrap()).unwrap_err().to_string();
    assert!(error.contains("unknown field `top`"), "{error}");
}
