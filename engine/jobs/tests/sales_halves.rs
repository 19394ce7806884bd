//! The halves of `sales`: each by itself, and the second over products that are on a bound, equal, unsold or not there.

mod support;

use std::path::Path;

use serde_json::Value;
use support::run_built_in;
use tempfile::TempDir;

const GOLDEN_SALES: &str = include_str!("golden/sales.json");
const GOLDEN_ANALYSIS: &str = include_str!("golden/ray_analysis.json");

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn write(folder: &Path, file: &str, text: &str) {
    let path = folder.join(file);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("its folder");
    std::fs::write(path, text).expect("written");
}

/// What `sales-analysis` makes of `input`.
async fn analysis(folder: &Path, input: &str, params: &[(&str, &str)]) -> Value {
    let params: Vec<(&str, &str)> = params.iter().copied().chain([("input", input), ("output", "out")]).collect();
    run_built_in("sales-analysis", &params, folder, 3).await;
    serde_json::from_str(&read(folder, "out/ray_analysis.json")).expect("json")
}

/// A line as Spark writes it.
fn product(name: &str, revenue: f64, quantity: i64) -> String {
    let revenue = Value::from(revenue);
    format!(
        r#"{{"product":"{name}","total_revenue":{revenue},"total_quantity":{quantity},"transaction_count":2,"avg_quantity":1.5}}"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_half_runs_by_itself() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    run_built_in("sales-etl", &[("output", "etl")], folder, 3).await;
    assert_eq!(read(folder, "etl/spark_output.json"), GOLDEN_SALES);
    assert!(!folder.join("etl/ray_analysis.json").exists());
    let params = [("input", "etl/spark_output.json"), ("output", "analysis")];
    let summary = run_built_in("sales-analysis", &params, folder, 3).await;
    assert_eq!(read(folder, "analysis/ray_analysis.json"), GOLDEN_ANALYSIS);
    assert_eq!((summary.read.rows, summary.written.rows), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_spark_wrote_is_read_like_one_file() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let lines: Vec<String> = (0..5).map(|n| product(&format!("p{n}"), 100.0, 1)).collect();
    write(folder, "spark/part-00000-1b2c.json", &format!("{}\n{}\n", lines[0], lines[1]));
    write(folder, "spark/part-00001-1b2c.json", &format!("{}\n{}\n{}\n", lines[2], lines[3], lines[4]));
    write(folder, "spark/part-00002-1b2c.json", "");
    write(folder, "spark/_SUCCESS", "");
    write(folder, "spark/.part-00000-1b2c.json.crc", "crc");
    let found = analysis(folder, "spark", &[]).await;
    let names: Vec<&Value> =
        found["all_products"].as_array().expect("products").iter().map(|p| &p["product"]).collect();
    assert_eq!(names, ["p0", "p1", "p2", "p3", "p4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_belong_to_the_class_below_and_can_be_set() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let revenues = [3000.0, 3000.01, 1500.0, 1500.01, 0.0, -5.0];
    let lines: Vec<String> = revenues.iter().map(|revenue| product(&format!("r{revenue}"), *revenue, 1)).collect();
    write(folder, "border.json", &format!("[{}]", lines.join(",\n")));
    let classes = |found: &Value| -> Vec<String> {
        let products = found["all_products"].as_array().expect("products").iter();
        products.map(|p| p["category"].as_str().expect("a class").replace(" Performer", "")).collect()
    };
    let found = analysis(folder, "border.json", &[]).await;
    assert_eq!(classes(&found), ["Medium", "High", "Low", "Medium", "Low", "Low"]);
    let distribution = found["summary"]["category_distribution"].to_string();
    assert_eq!(distribution, r#"{"Medium Performer":2,"High Performer":1,"Low Performer":3}"#);
    assert_eq!(found["worst_performer"]["product"], "r-5");

    let found = analysis(folder, "border.json", &[("high", "1500"), ("medium", "0"), ("low_text", "stop it")]).await;
    assert_eq!(classes(&found), ["High", "High", "Medium", "High", "Low", "Low"]);
    assert_eq!(found["all_products"][4]["recommendation"], "stop it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsold_product_has_no_value_per_unit_and_is_told_about() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    write(folder, "zero.csv", "product,quantity,price\na,0,2.5\nb,2,3.0\n");
    let summary = run_built_in("sales", &[("input", "zero.csv"), ("output", "out")], folder, 2).await;
    let found: Value = serde_json::from_str(&read(folder, "out/ray_analysis.json")).expect("json");
    assert_eq!(found["all_products"][1]["product"], "a");
    assert_eq!(found["all_products"][1]["metrics"]["revenue_per_unit"], Value::Null);
    let warnings: Vec<(&str, &str, u64)> =
        summary.warnings.iter().map(|w| (w.step.as_str(), w.condition.as_str(), w.rows)).collect();
    assert_eq!(warnings, [("analysis", "metrics['revenue_per_unit'] IS NOT NULL", 1)]);
    let text = summary.to_markdown();
    assert!(text.contains("| analysis | metrics['revenue_per_unit'] IS NOT NULL | 1 |"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_equal_products_is_best_and_worst() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let lines: Vec<String> = ["z", "a", "m"].iter().map(|name| product(name, 100.0, 1)).collect();
    write(folder, "tie.json", &lines.join("\n"));
    let found = analysis(folder, "tie.json", &[]).await;
    assert_eq!((&found["best_performer"]["product"], &found["worst_performer"]["product"]), (&"z".into(), &"z".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_products_are_an_answer_too() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    write(folder, "empty.json", "[]");
    let found = analysis(folder, "empty.json", &[]).await;
    assert_eq!(found["summary"]["total_products"], 0);
    assert_eq!((&found["best_performer"], &found["worst_performer"]), (&Value::Null, &Value::Null));
    assert_eq!(found["all_products"], Value::Array(Vec::new()));
    write(folder, "none.csv", "product,quantity,price\n");
    run_built_in("sales", &[("input", "none.csv"), ("output", "out")], folder, 2).await;
    assert_eq!(read(folder, "out/spark_output.json"), "[]");
    let found: Value = serde_json::from_str(&read(folder, "out/ray_analysis.json")).expect("json");
    assert_eq!(found["summary"]["total_products"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_products_stay_in_order() {
    let folder = TempDir::new().expect("a folder");
    let folder = folder.path();
    let lines: Vec<String> = (0..10_000).map(|n| product(&format!("p{n}"), f64::from(n), 2)).collect();
    write(folder, "many.json", &format!("[{}]", lines.join(",")));
    let found = analysis(folder, "many.json", &[]).await;
    let products = found["all_products"].as_array().expect("products");
    assert!(products.iter().enumerate().all(|(n, product)| product["product"] == format!("p{n}")));
    assert_eq!((products.len(), &found["best_performer"]["product"]), (10_000, &"p9999".into()));
    assert_eq!(found["summary"]["category_distribution"]["High Performer"], 6999);
}
