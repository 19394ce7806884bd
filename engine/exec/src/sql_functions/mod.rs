//! Functions of SQL that DataFusion does not have, known by name wherever plans are made or run.

mod cosine;
mod embed;
mod encoders;
mod exact_sum;
mod kept;
mod top_k;

use std::path::Path;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, SessionStateDefaults};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;

pub use encoders::free_idle_models;

/// Adds all of them.
pub(crate) fn add_functions(state: &mut SessionState) -> Result<()> {
    let embed = embed::running(&state.runtime_env().memory_pool);
    state.register_udf(cosine::cosine_similarity())?;
    state.register_udf(Arc::new(embed))?;
    for aggregate in aggregates() {
        state.register_udaf(aggregate)?;
    }
    Ok(())
}

/// The aggregate that is called `name`, DataFusion's own or one of these.
pub(crate) fn aggregate_function(name: &str) -> Option<Arc<AggregateUDF>> {
    let mut all = SessionStateDefaults::default_aggregate_functions().into_iter().chain(aggregates());
    all.find(|aggregate| aggregate.name() == name)
}

fn aggregates() -> [Arc<AggregateUDF>; 2] {
    [exact_sum::exact_sum(), top_k::top_k()]
}

/// Has `context` plan what it never runs: no model is loaded, and folders of models may be relative to `base_dir`.
pub fn plan_only(context: &SessionContext, base_dir: &Path) {
    context.register_udf(embed::planned(base_dir));
}

/// Whether a row takes so long in `expression` that a batch would take many seconds.
pub(crate) fn is_slow(expression: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expression.exists(|part| Ok(embed::is_call(part)))
}
