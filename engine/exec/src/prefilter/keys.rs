//! What rows of a join are looked up by.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use datafusion::common::hash_utils::create_hashes;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::utils::evaluate_expressions_to_arrays;
use datafusion::physical_plan::repartition::REPARTITION_RANDOM_STATE;

/// The keys of a row, over the schema of some plan.
pub(crate) type Keys = Vec<Arc<dyn PhysicalExpr>>;

/// Hashes of the keys of `batch`, the same ones by which DataFusion partitions rows.
pub(super) fn hash_keys(keys: &Keys, batch: &RecordBatch, hashes: &mut Vec<u64>) -> Result<()> {
    let columns = evaluate_expressions_to_arrays(keys, batch)?;
    hashes.clear();
    hashes.resize(batch.num_rows(), 0);
    create_hashes(&columns, REPARTITION_RANDOM_STATE.random_state(), hashes)?;
    Ok(())
}

/// `keys` as they are shown in plans.
pub(super) fn display(keys: &Keys) -> String {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    format!("[{}]", keys.join(", "))
}

/// The column at `index` of `schema`.
pub(crate) fn column_of(schema: &Schema, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

/// The place of the column that `expression` is.
pub(crate) fn column(expression: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expression.downcast_ref::<Column>().map(Column::index)
}
