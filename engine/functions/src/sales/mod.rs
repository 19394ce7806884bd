//! The analysis of products by what they sold.
//!
//! ```text
//!   product, total_revenue, total_quantity, transaction_count, avg_quantity
//!     ─ product-analysis ─► product, category, recommendation, metrics { … }        row by row
//!     ─ sales-summary ────► summary { … }, best_performer, worst_performer, all_products      one row
//! ```

mod analysis;
mod classes;
mod product;
mod summary;

use crate::registry::BuiltIn;

/// Classifies products.
pub(crate) const PRODUCT_ANALYSIS: BuiltIn = BuiltIn {
    name: "product-analysis",
    about: "class, advice and derived metrics of each product",
    whole: false,
    batch_rows: None,
    paths: &[],
    check: |_| Ok(()),
    plan: analysis::plan,
    call: analysis::call,
};

/// Sums classified products up.
pub(crate) const SALES_SUMMARY: BuiltIn = BuiltIn {
    name: "sales-summary",
    about: "totals, classes, best and worst of all analysed products",
    whole: true,
    batch_rows: None,
    paths: &[],
    check: |_| Ok(()),
    plan: summary::plan,
    call: summary::call,
};

#[cfg(test)]
mod tests;
