//! Plans one step of a job file: its query or function, its checks, and which table's rows flow through it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use tandem_exec::error::PlanError;
use tandem_exec::probe::{CheckKind, OnBreach, RowCheck, parse_check, probe};

use super::flow;
use super::function_step::{self, PlannedFunction};
use super::session::PlanSession;
use super::sql_text::{SqlText, locate};
use super::statement;
use crate::job_file::{JobFile, RunStep, SqlStep, Step, StepWork};
use crate::planned::CountCheck;

/// A step that is sound.
pub(super) struct PlannedStep<'f> {
    pub(super) step: &'f Step,
    /// Reads other steps as empty tables of their schema. Of a function, it is what it works on.
    pub(super) plan: LogicalPlan,
    /// The table whose rows flow through it.
    pub(super) input: Option<String>,
    work: Work<'f>,
    checks: Vec<CheckKind>,
}

enum Work<'f> {
    Sql(SqlText<'f>),
    Function { function: PlannedFunction, place: String },
}

impl PlannedStep<'_> {
    /// Its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        match &self.work {
            Work::Sql(_) => Arc::new(self.plan.schema().as_arrow().clone()),
            Work::Function { function, .. } => Arc::clone(&function.output),
        }
    }

    /// Its rows, counted and checked, where `plan` is its own with all tables in it filled in.
    pub(super) async fn rows(&self, session: &PlanSession, plan: LogicalPlan) -> Result<LogicalPlan, PlanError> {
        let plan = match &self.work {
            Work::Sql(_) => plan,
            Work::Function { function, .. } => function.over(session, &plan).await?,
        };
        Ok(self.probed(plan))
    }

    /// `error`, which planning its operators gave, as an error about it.
    pub(super) fn in_context(&self, error: PlanError) -> PlanError {
        match &self.work {
            Work::Sql(sql) => sql.in_context(error),
            Work::Function { place, .. } => locate(error, place),
        }
    }

    /// `plan`, counting its rows and checking each.
    fn probed(&self, plan: LogicalPlan) -> LogicalPlan {
        let conditions = self.checks.iter().filter_map(|check| match check {
            CheckKind::Row(condition) => Some(condition.clone()),
            CheckKind::MinRows(_) | CheckKind::MaxRows(_) => None,
        });
        probe(plan, &self.step.name, conditions.collect::<Vec<RowCheck>>())
    }

    /// The bounds on the number of its rows, if it has any.
    pub(super) fn count_check(&self) -> Option<CountCheck> {
        let mut bounds = CountCheck { step: self.step.name.clone(), min_rows: None, max_rows: None };
        for check in &self.checks {
            match check {
                CheckKind::MinRows(rows) => bounds.min_rows = bounds.min_rows.max(Some(*rows)),
                CheckKind::MaxRows(rows) => {
                    bounds.max_rows = Some(bounds.max_rows.map_or(*rows, |least| least.min(*rows)));
                }
                CheckKind::Row(_) => {}
            }
        }
        (bounds.min_rows.is_some() || bounds.max_rows.is_some()).then_some(bounds)
    }
}

pub(super) async fn plan<'f>(
    session: &PlanSession,
    file: &'f JobFile,
    step: &'f Step,
) -> Result<PlannedStep<'f>, PlanError> {
    match &step.work {
        StepWork::Sql(text) => plan_sql(session, file, step, text).await,
        StepWork::Run(run) => plan_function(session, file, step, run).await,
    }
}

async fn plan_sql<'f>(
    session: &PlanSession,
    file: &'f JobFile,
    step: &'f Step,
    text: &'f SqlStep,
) -> Result<PlannedStep<'f>, PlanError> {
    let sql = SqlText::in_file(&text.text, &file.origin, text.line, format!("step `{}`", step.name));
    let statement = statement::parse(&sql, &session.context)?;
    statement::only_query(&statement, &sql)?;
    session.check_tables(&statement, &sql)?;
    let tables = table_names(session, &statement, &sql)?;
    let plan = session.logical_plan(statement, &sql).await?;
    check_names(&plan, &sql)?;
    let input = flow::input_of(step, &plan, &tables, &sql)?;
    let checks = checks(session, step, plan.schema()).map_err(|error| locate(error, place(file, step)))?;
    Ok(PlannedStep { step, work: Work::Sql(sql), plan, input, checks })
}

async fn plan_function<'f>(
    session: &PlanSession,
    file: &'f JobFile,
    step: &'f Step,
    run: &RunStep,
) -> Result<PlannedStep<'f>, PlanError> {
    let place = place(file, step);
    let located = |error| locate(error, &place);
    let plan = session.scan(step.input.as_deref().unwrap_or_default()).await.map_err(located)?;
    let function = function_step::plan(session, step, run, plan.schema().as_arrow()).await.map_err(located)?;
    let columns = DFSchema::try_from(Arc::clone(&function.output))?;
    let checks = checks(session, step, &columns).map_err(located)?;
    // Only the job file can know that each row that comes out stands for one that went in.
    let input = step.input.clone().filter(|_| step.removes.is_some());
    Ok(PlannedStep { step, work: Work::Function { function, place: place.clone() }, plan, input, checks })
}

fn place(file: &JobFile, step: &Step) -> String {
    format!("step `{}` ({})", step.name, file.place(step.line))
}

fn table_names(session: &PlanSession, statement: &Statement, sql: &SqlText<'_>) -> Result<Vec<String>, PlanError> {
    let tables = statement::tables_of(statement, &session.context, sql)?;
    Ok(tables.iter().map(|table| table.table().to_owned()).collect())
}

/// A step's columns need names of their own, since later steps and files use them.
fn check_names(plan: &LogicalPlan, sql: &SqlText<'_>) -> Result<(), PlanError> {
    let mut names = BTreeSet::new();
    match plan.schema().fields().iter().find(|field| !names.insert(field.name().as_str())) {
        None => Ok(()),
        Some(field) => {
            let help = Some("give one of them another name with AS".to_owned());
            Err(sql.error(format!("two columns are called `{}`", field.name()), help))
        }
    }
}

/// The step's checks, and the conditions that only warn, planned over its columns.
fn checks(session: &PlanSession, step: &Step, columns: &DFSchema) -> Result<Vec<CheckKind>, PlanError> {
    let parse = |text: &String| parse_check(text, columns, &session.context);
    let warn = |text: &String| match parse(text)? {
        CheckKind::Row(check) => Ok(CheckKind::Row(RowCheck { on_breach: OnBreach::Warn, ..check })),
        CheckKind::MinRows(_) | CheckKind::MaxRows(_) => {
            Err(PlanError::invalid(format!("`{text}` is a check and cannot only warn")))
        }
    };
    step.checks.iter().map(parse).chain(step.warnings.iter().map(warn)).collect()
}
