//! The text of a check, as a job file has it, and what it means.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::prelude::SessionContext;

use crate::error::PlanError;
use crate::nesting::check_text;

/// A condition that every row of a step must meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
pub struct RowCheck {
    /// As the job file has it.
    pub text: String,
    /// What it means; true or null for a row that is right.
    pub condition: Expr,
    /// What a row that is wrong does.
    pub on_breach: OnBreach,
}

/// What a row does that does not meet a condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OnBreach {
    /// It fails the job.
    #[default]
    Fail,
    /// It is counted, under the name that [`warning_name`] gives.
    Warn,
}

/// The name that rows of `step` which do not meet the condition `text` are counted by.
pub fn warning_name(step: &str, text: &str) -> String {
    format!("{step}: {text}")
}

/// What one check of a step asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    /// `min_rows = n`: the step has `n` rows or more. Decided when all tasks have counted.
    MinRows(u64),
    /// `max_rows = n`: the step has `n` rows or fewer. Decided when all tasks have counted.
    MaxRows(u64),
    /// A boolean SQL expression over the step's columns. As with SQL's own CHECK, a row for which it is null passes:
    /// write `quantity IS NOT NULL AND quantity > 0` to refuse nulls.
    Row(RowCheck),
}

/// What the check `text` of a step with this `schema` means.
///
/// # Errors
/// [`PlanError::Invalid`] when it is no condition over a row of the step.
pub fn parse_check(text: &str, schema: &DFSchema, context: &SessionContext) -> Result<CheckKind, PlanError> {
    if let Some(count) = parse_count(text) {
        return count;
    }
    let condition = check_text(text, context).and_then(|()| context.parse_sql_expr(text, schema));
    let condition = condition.map_err(|error| invalid(text, &first_line(&error)))?;
    if let Some(part) = beyond_a_row(&condition) {
        return Err(invalid(text, &format!("{part} is about more than one row")));
    }
    match condition.get_type(schema) {
        Ok(DataType::Boolean) => {
            Ok(CheckKind::Row(RowCheck { text: text.to_owned(), condition, on_breach: OnBreach::Fail }))
        }
        Ok(other) => Err(invalid(text, &format!("it is not true or false but of type {other}"))),
        Err(error) => Err(invalid(text, &first_line(&error))),
    }
}

/// How the failure of the check `text` names it and its step.
pub fn check_label(step: &str, text: &str) -> String {
    match parse_count(text) {
        Some(Ok(CheckKind::MinRows(rows))) => format!("check `min_rows = {rows}` of step `{step}`"),
        Some(Ok(CheckKind::MaxRows(rows))) => format!("check `max_rows = {rows}` of step `{step}`"),
        _ => format!("check `{text}` of step `{step}`"),
    }
}

/// `min_rows = n` or `max_rows = n`.
fn parse_count(text: &str) -> Option<Result<CheckKind, PlanError>> {
    let (name, value) = text.split_once('=')?;
    let kind: fn(u64) -> CheckKind = match name.trim() {
        "min_rows" => CheckKind::MinRows,
        "max_rows" => CheckKind::MaxRows,
        _ => return None,
    };
    let count = value.trim().replace('_', "").parse().map(kind);
    Some(count.map_err(|_| invalid(text, "it needs a whole number of rows")))
}

/// The name of a part of `condition` that one row does not decide.
fn beyond_a_row(condition: &Expr) -> Option<&'static str> {
    let mut found = None;
    let visited = condition.exists(|part| {
        found = match part {
            Expr::AggregateFunction(_) => Some("an aggregate function"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => {
                Some("a subquery")
            }
            _ => None,
        };
        Ok(found.is_some())
    });
    visited.ok().and(found)
}

fn first_line(error: &datafusion::error::DataFusionError) -> String {
    error.strip_backtrace().lines().next().unwrap_or_default().to_owned()
}

fn invalid(text: &str, what: &str) -> PlanError {
    PlanError::Invalid {
        message: format!("check `{text}`: {what}"),
        help: Some("write a condition on columns of the step, min_rows = 1 or max_rows = 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn parse(text: &str) -> Result<CheckKind, String> {
        let fields = vec![Field::new("quantity", DataType::Int32, true), Field::new("country", DataType::Utf8, true)];
        let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
        parse_check(text, &schema, &SessionContext::new()).map_err(|error| error.to_string())
    }

    #[test]
    fn counts_and_conditions_are_told_apart() {
        assert_eq!(parse("min_rows = 1"), Ok(CheckKind::MinRows(1)));
        assert_eq!(parse("max_rows=1_000_000"), Ok(CheckKind::MaxRows(1_000_000)));
        for text in ["quantity > 0", "country IN ('DE', 'FR') OR country IS NULL", "length(country) = 2"] {
            assert!(
                matches!(parse(text), Ok(CheckKind::Row(RowCheck { text: ref kept, .. })) if kept == text),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_check_is_named() {
        for (text, expected) in [
            ("min_rows = many", "it needs a whole number of rows"),
            ("min_rows = -1", "it needs a whole number of rows"),
            ("quantity", "not true or false but of type Int32"),
            ("price > 0", "price"),
            ("quantity >", "check `quantity >`"),
            ("count(*) > 1", "an aggregate function is about more than one row"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
