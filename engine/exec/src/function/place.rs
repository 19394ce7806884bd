//! The plan of a function step: how its input is brought to the calls, and what they give put in order.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::physical_expr::LexOrdering;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::exec::FunctionExec;
use super::in_order::InOrderExec;
use super::number::{NumberBatchesExec, by_number};
use super::sealed::SealedExec;
use super::spec::FunctionSpec;
use super::spread::SpreadExec;
use crate::plan::{Plan, partitions};

/// A leaf that gives what the function of `spec` makes of `input`: rows of `output`. An input of one partition is worked on
/// in up to `spread` partitions, and its order kept. To be cut into stages, not to be executed as it is.
///
/// # Errors
/// None but those of a plan that contradicts itself.
pub fn function_plan(spec: FunctionSpec, output: SchemaRef, input: Plan, spread: usize) -> Result<Plan> {
    let spec = Arc::new(spec);
    let single = partitions(&input) == 1;
    let plan: Plan = if spec.whole {
        let input = if single { input } else { Arc::new(InOrderExec::new(input)) };
        Arc::new(FunctionExec::new(spec, output, input))
    } else if single && spread > 1 {
        spread_out(spec, output, input, spread)?
    } else {
        Arc::new(FunctionExec::new(spec, output, input))
    };
    Ok(Arc::new(SealedExec::new(plan)))
}

fn spread_out(spec: Arc<FunctionSpec>, output: SchemaRef, input: Plan, spread: usize) -> Result<Plan> {
    let numbered = NumberBatchesExec::try_new(input, (spec.batch_rows as u64).max(1))?;
    let dealt_out = SpreadExec::new(Arc::new(numbered), spread);
    let called = FunctionExec::of_numbered(spec, Arc::clone(&output), Arc::new(dealt_out));
    let called: Plan = Arc::new(called);
    let order = LexOrdering::from([by_number(&called.schema())]);
    let merged = SortPreservingMergeExec::new(order, called);
    let columns = output.fields().iter().enumerate();
    let columns = columns.map(|(index, field)| (Arc::new(Column::new(field.name(), index)) as _, field.name().clone()));
    Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), Arc::new(merged))?))
}
