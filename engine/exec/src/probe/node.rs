//! The probe in a logical plan, and how it becomes an operator.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchemaRef, internal_err};
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::check::RowCheck;
use super::exec::{Check, ProbeExec};

/// Passes the rows of a step on, counted and checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub struct ProbeNode {
    input: LogicalPlan,
    step: String,
    checks: Vec<RowCheck>,
}

/// `input`, which is the plan of `step`, with a probe on top.
pub fn probe(input: LogicalPlan, step: impl Into<String>, checks: Vec<RowCheck>) -> LogicalPlan {
    LogicalPlan::Extension(Extension { node: Arc::new(ProbeNode { input, step: step.into(), checks }) })
}

impl UserDefinedLogicalNodeCore for ProbeNode {
    fn name(&self) -> &str {
        "Probe"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.checks.iter().map(|check| check.condition.clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Probe: step={}", self.step)?;
        for check in &self.checks {
            write!(f, ", check: {}", check.text)?;
        }
        Ok(())
    }

    fn with_exprs_and_inputs(&self, conditions: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(input), true) = (inputs.pop(), conditions.len() == self.checks.len()) else {
            return internal_err!("a probe has one input and keeps its checks");
        };
        let checks = self.checks.iter().zip(conditions);
        let checks = checks.map(|(check, condition)| RowCheck { condition, ..check.clone() }).collect();
        Ok(Self { input, step: self.step.clone(), checks })
    }

    /// The columns that are read above; those that checks name are added by the optimizer.
    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}

/// Makes [`ProbeExec`]s of [`ProbeNode`]s.
#[derive(Debug)]
pub struct ProbePlanner;

#[async_trait]
impl ExtensionPlanner for ProbePlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        planning_context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<ProbeNode>() else { return Ok(None) };
        let [input] = physical_inputs else { return internal_err!("a probe has one input") };
        let schema = node.input.schema();
        let checks = node.checks.iter().map(|check| {
            let predicate = planner.create_physical_expr(&check.condition, schema, session, planning_context)?;
            Ok(Check { text: check.text.clone(), predicate, on_breach: check.on_breach })
        });
        let checks = checks.collect::<Result<Vec<_>>>()?;
        Ok(Some(Arc::new(ProbeExec::new(Arc::clone(input), node.step.clone(), checks))))
    }
}

/// DataFusion's planner with [`ProbePlanner`].
pub fn query_planner() -> Arc<dyn QueryPlanner + Send + Sync> {
    Arc::new(WithProbes)
}

#[derive(Debug)]
struct WithProbes;

#[async_trait]
impl QueryPlanner for WithProbes {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(ProbePlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}
