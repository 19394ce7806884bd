//! Window functions whose options travel with them. The wire form of a plan has no place for the `FILTER` of an aggregate over
//! a window, for the `IGNORE NULLS` of `lag` and its like, nor for the direction that DataFusion turns them in to spare a sort:
//! a worker would answer as if none had been said. Here the function itself knows, and says so when it is encoded.

mod directed;
mod filtered;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::NullTreatment;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};
use datafusion::optimizer::AnalyzerRule;

pub(crate) use self::directed::Directed;
pub(crate) use self::filtered::Filtered;

/// Gives window functions their options to carry, after types have been coerced.
#[derive(Debug)]
pub(crate) struct CarryOptions;

impl AnalyzerRule for CarryOptions {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            if !matches!(plan, LogicalPlan::Window(_)) {
                return Ok(Transformed::no(plan));
            }
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(carry)?.update_data(|expr| name.restore(expr)))
            })
        })
        .data()
    }

    fn name(&self) -> &str {
        "carry_window_options"
    }
}

fn carry(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::WindowFunction(mut window) = expr else { return Ok(Transformed::no(expr)) };
    let ignore_nulls = window.params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let carrying = match &window.fun {
        WindowFunctionDefinition::WindowUDF(function) => {
            Directed::carrying(function, ignore_nulls).map(WindowFunctionDefinition::WindowUDF)
        }
        WindowFunctionDefinition::AggregateUDF(function) => window.params.filter.take().map(|filter| {
            window.params.args.push(*filter);
            WindowFunctionDefinition::AggregateUDF(Filtered::carrying(Arc::clone(function)))
        }),
    };
    let Some(carrying) = carrying else { return Ok(Transformed::no(Expr::WindowFunction(window))) };
    window.fun = carrying;
    Ok(Transformed::yes(Expr::WindowFunction(window)))
}
