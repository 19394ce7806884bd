//! The built-in jobs about sales: revenue per product, and what to do about each product. One job does both, two do a half each.

const ROWS: &str = include_str!("sales/rows.toml");
const INPUT: &str = include_str!("sales/input.toml");
const ETL: &str = include_str!("sales/etl.toml");
const PRODUCTS: &str = include_str!("sales/products.toml");
const ANALYSIS_PARAMS: &str = include_str!("sales/analysis_params.toml");
const ANALYSIS: &str = include_str!("sales/analysis.toml");

/// What `sales` and `sales-etl` read.
const SALES_INPUT: &str =
    r#"input = ""               # a CSV, JSON, Parquet or Arrow file, folder or pattern; empty: nine rows of our own"#;
/// What `sales-analysis` reads.
const PRODUCTS_INPUT: &str =
    r#"input = "out/sales/spark_output.json"   # what sales-etl wrote, or a Spark job: a file or a folder"#;

/// `sales`: both halves, of an own input or of nine rows.
pub(super) fn both(own_input: bool) -> String {
    let params = [SALES_INPUT, ANALYSIS_PARAMS];
    job("sales", &params, &[sales(own_input), ETL, ANALYSIS])
}

/// `sales-etl`: revenue and quantities per product.
pub(super) fn etl(own_input: bool) -> String {
    job("sales-etl", &[SALES_INPUT], &[sales(own_input), ETL])
}

/// `sales-analysis`: classes, advice and totals of what `sales-etl` gave.
pub(super) fn analysis() -> String {
    job("sales-analysis", &[PRODUCTS_INPUT, ANALYSIS_PARAMS], &[PRODUCTS, ANALYSIS])
}

fn sales(own_input: bool) -> &'static str {
    if own_input { INPUT } else { ROWS }
}

fn job(name: &str, params: &[&str], parts: &[&str]) -> String {
    let params = params.join("\n");
    format!(
        "name = \"{name}\"\nreport = \"${{output}}\"\n\n[params]\n{params}\noutput = \"out/sales\"\n{}",
        parts.concat()
    )
}
