//! Functions of SQL that DataFusion does not have, known by name wherever plans are made or run.

mod cosine;
mod exact_sum;
mod top_k;

use datafusion::error::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;

/// Adds all of them.
pub(crate) fn add_functions(state: &mut SessionState) -> Result<()> {
    state.register_udf(cosine::cosine_similarity())?;
    state.register_udaf(exact_sum::exact_sum())?;
    state.register_udaf(top_k::top_k())?;
    Ok(())
}
