//! Plans one step of a job file: its query, its checks, and which table's rows flow through it.

use std::collections::BTreeSet;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use tandem_exec::error::PlanError;
use tandem_exec::probe::{CheckKind, RowCheck, parse_check, probe};

use super::flow;
use super::session::PlanSession;
use super::sql_text::{SqlText, locate};
use super::statement;
use crate::job_file::{JobFile, Step, StepWork};
use crate::planned::CountCheck;

/// A step whose SQL is sound.
pub(super) struct PlannedStep<'f> {
    pub(super) step: &'f Step,
    pub(super) sql: SqlText<'f>,
    /// Reads other steps as empty tables of their schema.
    pub(super) plan: LogicalPlan,
    /// The table whose rows flow through it.
    pub(super) input: Option<String>,
    checks: Vec<CheckKind>,
}

impl PlannedStep<'_> {
    /// `plan`, counting its rows and checking each.
    pub(super) fn probed(&self, plan: LogicalPlan) -> LogicalPlan {
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
    let text = match &step.work {
        StepWork::Sql(text) => text,
        StepWork::Run(run) => return Err(no_functions(file, step, &run.function)),
    };
    let sql = SqlText::in_file(&text.text, &file.origin, text.line, format!("step `{}`", step.name));
    let statement = statement::parse(&sql, &session.context)?;
    statement::only_query(&statement, &sql)?;
    session.check_tables(&statement, &sql)?;
    let tables = table_names(session, &statement, &sql)?;
    let plan = session.logical_plan(statement, &sql).await?;
    check_names(&plan, &sql)?;
    let input = flow::input_of(step, &plan, &tables, &sql)?;
    let checks = checks(session, file, step, &plan)?;
    Ok(PlannedStep { step, sql, plan, input, checks })
}

fn no_functions(file: &JobFile, step: &Step, function: &str) -> PlanError {
    PlanError::Invalid {
        message: format!(
            "step `{}` runs the function `{function}`: function steps are not available in this version ({}:{})",
            step.name, file.origin, step.line
        ),
        help: Some("write the step as `sql`".to_owned()),
    }
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

/// The step's checks, planned over its columns.
fn checks(session: &PlanSession, file: &JobFile, step: &Step, plan: &LogicalPlan) -> Result<Vec<CheckKind>, PlanError> {
    let parse = |text: &String| parse_check(text, plan.schema(), &session.context);
    let place = |error| locate(error, format!("step `{}` ({}:{})", step.name, file.origin, step.line));
    step.checks.iter().map(|text| parse(text).map_err(place)).collect()
}
