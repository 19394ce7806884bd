//! Plans a step that runs a function: which one, the columns it gives, and how its input comes to it.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use tandem_exec::error::PlanError;
use tandem_exec::function::{DEFAULT_BATCH_ROWS, FunctionOrigin, FunctionSpec, function_plan};
use tandem_exec::source::parse_schema;
use tandem_functions::BuiltIn;
use tandem_graph::StageNeeds;
use tandem_proto::resources::{CPUS, SLOT_MILLI};

use super::session::PlanSession;
use super::tables::scan_of_stage;
use crate::job_file::{RunStep, Step};

/// A function whose columns are known.
pub(super) struct PlannedFunction {
    spec: FunctionSpec,
    /// The columns that it gives.
    pub(super) output: SchemaRef,
}

/// Plans `run` over rows of `input`.
pub(super) async fn plan(
    session: &PlanSession,
    step: &Step,
    run: &RunStep,
    input: &Schema,
) -> Result<PlannedFunction, PlanError> {
    let built_in = tandem_functions::find(&run.function);
    let mut args = run.args.clone();
    for path in built_in.map_or(&[][..], |function| function.paths) {
        if let Some(serde_json::Value::String(path)) = args.get_mut(*path) {
            *path = session.absolute(path)?;
        }
    }
    let args = serde_json::Value::from(args).to_string();
    let output = match built_in {
        Some(function) => {
            let checked = function.check(&args).and_then(|()| function.output(&args, input));
            checked.map_err(|error| PlanError::invalid(format!("`{}`: {error}", run.function)))?
        }
        None => Arc::new(declared(session, run).await?),
    };
    let spec = FunctionSpec {
        step: step.name.clone(),
        function: run.function.clone(),
        origin: if built_in.is_some() { FunctionOrigin::BuiltIn } else { FunctionOrigin::Package },
        args,
        batch_rows: batch_rows(run, built_in),
        whole: whole(run, built_in)?,
        // A function of a user may look at a clock or draw lots.
        deterministic: built_in.is_some(),
        needs: needs(step, run),
    };
    Ok(PlannedFunction { spec, output })
}

impl PlannedFunction {
    /// The step's rows, for a plan of its input.
    pub(super) async fn over(&self, session: &PlanSession, input: &LogicalPlan) -> Result<LogicalPlan, PlanError> {
        let input = session.context.state().create_physical_plan(input).await?;
        let spread = session.context.copied_config().target_partitions();
        let leaf = function_plan(self.spec.clone(), Arc::clone(&self.output), input, spread)?;
        Ok(scan_of_stage(&self.spec.step, leaf)?)
    }
}

/// The columns that a function of the package is said to give.
async fn declared(session: &PlanSession, run: &RunStep) -> Result<Schema, PlanError> {
    let mut fields: Vec<Arc<Field>> = Vec::new();
    if let Some(table) = &run.like {
        fields.extend(session.scan(table).await?.schema().as_arrow().fields().iter().cloned());
    }
    if let Some(text) = &run.schema {
        fields.extend(parse_schema(text)?.fields().iter().cloned());
    }
    let twice =
        |(place, field): &(usize, &Arc<Field>)| fields[..*place].iter().any(|other| other.name() == field.name());
    match fields.iter().enumerate().find(twice) {
        Some((_, field)) => Err(PlanError::invalid(format!("column `{}` is declared twice", field.name()))),
        None => Ok(Schema::new(fields)),
    }
}

/// What a task that calls the function needs besides a slot, which is one processor.
fn needs(step: &Step, run: &RunStep) -> Option<StageNeeds> {
    let mut milli = run.resources.clone();
    milli.retain(|name, amount| name != CPUS || *amount > SLOT_MILLI);
    let needs = StageNeeds { step: step.name.clone(), milli, labels: run.labels.clone() };
    (!needs.milli.is_empty() || !needs.labels.is_empty()).then_some(needs)
}

/// Rows of one call.
fn batch_rows(run: &RunStep, built_in: Option<&BuiltIn>) -> usize {
    match run.batch_rows {
        Some(rows) => usize::try_from(rows).unwrap_or(usize::MAX),
        None => built_in.and_then(|function| function.batch_rows).unwrap_or(DEFAULT_BATCH_ROWS),
    }
}

/// Whether the function is called once for all rows.
fn whole(run: &RunStep, built_in: Option<&BuiltIn>) -> Result<bool, PlanError> {
    let must = built_in.is_some_and(|function| function.whole);
    match run.whole {
        Some(false) if must => Err(PlanError::invalid(format!("`{}` needs all rows at once", run.function))),
        whole => Ok(whole.unwrap_or(must)),
    }
}
