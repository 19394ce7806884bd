//! The probe as an operator.
//!
//! ```text
//!  partition p of the input ─► count, check ─► partition p, the same batches in the same order
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Statistics;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::StreamExt;
use tandem_proto::v1::RowCountKind;

use super::check::{OnBreach, check_label, warning_name};
use crate::error::TaskError;
use crate::plan::{only, visit_each};
use crate::scope::TaskScope;

/// Characters of one value in the sample row of a broken check.
const SAMPLE_VALUE_CHARS: usize = 80;
/// Columns in the sample row of a broken check.
const SAMPLE_COLUMNS: usize = 32;

/// A condition on rows, ready to be evaluated.
#[derive(Debug, Clone)]
pub struct Check {
    /// As the job file has it.
    pub text: String,
    /// Over the input's schema; false for a row that breaks the check.
    pub predicate: Arc<dyn PhysicalExpr>,
    /// What such a row does.
    pub on_breach: OnBreach,
}

/// Passes batches on, counts their rows for the step and fails the job when a row breaks a check.
#[derive(Debug, Clone)]
pub struct ProbeExec {
    input: Arc<dyn ExecutionPlan>,
    step: Arc<str>,
    checks: Arc<[Check]>,
    metrics: ExecutionPlanMetricsSet,
}

impl ProbeExec {
    /// A probe of `step`, whose rows are `input`'s.
    pub fn new(input: Arc<dyn ExecutionPlan>, step: impl Into<String>, checks: Vec<Check>) -> Self {
        let step: String = step.into();
        Self { input, step: step.into(), checks: checks.into(), metrics: ExecutionPlanMetricsSet::new() }
    }

    /// What is probed.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// The step whose rows are counted.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The checks that each row must pass.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }
}

impl DisplayAs for ProbeExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProbeExec: step={}", self.step)?;
        for check in self.checks.iter() {
            let word = if check.on_breach == OnBreach::Warn { "warn" } else { "check" };
            write!(f, ", {word}: {}", check.text)?;
        }
        Ok(())
    }
}

impl ExecutionPlan for ProbeExec {
    fn name(&self) -> &str {
        "ProbeExec"
    }

    /// Partitioning, order and equivalences are the input's: rows stay what and where they are.
    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// A pass over batches is not worth an exchange.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit_each(self.checks.iter().map(|check| &check.predicate), visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self {
            input: only(&children)?,
            step: Arc::clone(&self.step),
            checks: Arc::clone(&self.checks),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scope = TaskScope::of(&context);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let (step, checks) = (Arc::clone(&self.step), Arc::clone(&self.checks));
        let batches = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let timer = baseline.elapsed_compute().timer();
            for check in checks.iter() {
                let broken = hold(&step, check, &batch)?;
                if let (Some(scope), true) = (&scope, broken > 0) {
                    scope.count(RowCountKind::Warned, &warning_name(&step, &check.text), broken as u64, 0);
                }
            }
            timer.done();
            if let Some(scope) = &scope {
                scope.count(RowCountKind::Step, &step, batch.num_rows() as u64, 0);
            }
            baseline.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    /// The input's, as estimates: from exact ones the optimizer answers a query without running the probe.
    fn statistics_from_inputs(&self, inputs: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        match inputs {
            [input] => Ok(Arc::new(Statistics::clone(input).to_inexact())),
            _ => internal_err!("a probe has one input"),
        }
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// How many rows of `batch` break `check`; fails when one does that may not.
fn hold(step: &str, check: &Check, batch: &RecordBatch) -> Result<usize> {
    let outcome = check.predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(outcome) = outcome.as_boolean_opt() else {
        return internal_err!("check `{}` of step `{step}` is of type {}", check.text, outcome.data_type());
    };
    let broken = outcome.len() - outcome.null_count() - outcome.true_count();
    if broken == 0 || check.on_breach == OnBreach::Warn {
        return Ok(broken);
    }
    let row = (0..outcome.len()).find(|&row| outcome.is_valid(row) && !outcome.value(row)).unwrap_or(0);
    let text = format!("{} does not hold for the row {}", check_label(step, &check.text), sample(batch, row));
    Err(DataFusionError::from(TaskError::Fatal(text)))
}

/// The columns of `row` by name, shortened for a message.
fn sample(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::new().with_null("null");
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).take(SAMPLE_COLUMNS);
    let mut values: Vec<String> = columns
        .map(|(field, column)| {
            let value = ArrayFormatter::try_new(column, &options).and_then(|text| text.value(row).try_to_string());
            let value = value.unwrap_or_else(|_| "?".to_owned());
            let short: String = value.chars().take(SAMPLE_VALUE_CHARS).collect();
            let cut = if short.len() < value.len() { "…" } else { "" };
            format!("{}={short}{cut}", field.name())
        })
        .collect();
    if batch.num_columns() > SAMPLE_COLUMNS {
        values.push("…".to_owned());
    }
    values.join(", ")
}
