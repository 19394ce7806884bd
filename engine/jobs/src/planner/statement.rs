//! Parsing one statement, and which kinds of statement there are.

use datafusion::common::TableReference;
use datafusion::logical_expr::sqlparser::ast::Statement as Sql;
use datafusion::logical_expr::sqlparser::dialect::{GenericDialect, dialect_from_str};
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use tandem_exec::error::PlanError;
use tandem_exec::nesting::check_text;

use super::sql_text::SqlText;

/// What is done with a statement.
#[derive(Debug)]
pub(super) enum Kind {
    /// Its rows are computed by stages.
    Query,
    /// Its rows are known to the planner alone: settings, tables, columns.
    Metadata,
    /// The stages of the statement inside are its rows.
    Explain(Box<Statement>),
}

/// Parses the only statement of `sql`, in the session's dialect.
pub(super) fn parse(sql: &SqlText<'_>, context: &SessionContext) -> Result<Statement, PlanError> {
    check_text(sql.text, context).map_err(|error| sql.explain(&error))?;
    let options = context.copied_config().options().sql_parser.clone();
    let dialect = dialect_from_str(options.dialect).unwrap_or_else(|| Box::new(GenericDialect {}));
    let parser = DFParserBuilder::new(sql.text)
        .with_dialect(dialect.as_ref())
        .with_recursion_limit(options.recursion_limit.get())
        .build();
    let statements = parser.and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(|error| sql.explain(&error))?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(sql.error("there is no SQL statement", None)),
        (Some(_), false) => {
            Err(sql.error("there is more than one SQL statement", Some("run them one by one".to_owned())))
        }
    }
}

/// Sorts a statement, or refuses it: a query changes nothing.
pub(super) fn kind(statement: &Statement, sql: &SqlText<'_>) -> Result<Kind, PlanError> {
    match statement {
        Statement::Explain(explain) if explain.to_string().to_uppercase().starts_with("EXPLAIN ANALYZE") => {
            let help = "use `tandem explain --analyze`".to_owned();
            Err(sql.error("EXPLAIN ANALYZE is not a query", Some(help)))
        }
        Statement::Explain(explain) => match kind(&explain.statement, sql)? {
            Kind::Query | Kind::Metadata => Ok(Kind::Explain(explain.statement.clone())),
            Kind::Explain(_) => Err(sql.error("EXPLAIN of EXPLAIN is not a query", None)),
        },
        Statement::Statement(statement) => match statement.as_ref() {
            Sql::Query(_) => Ok(Kind::Query),
            Sql::ShowFunctions { .. }
            | Sql::ShowVariable { .. }
            | Sql::ShowVariables { .. }
            | Sql::ShowColumns { .. }
            | Sql::ShowTables { .. }
            | Sql::ExplainTable { .. } => Ok(Kind::Metadata),
            other => Err(refusal(sql, &other.to_string())),
        },
        Statement::CopyTo(_) => Err(refusal(sql, "COPY")),
        Statement::CreateExternalTable(_) => Err(refusal(sql, "CREATE EXTERNAL TABLE")),
        Statement::Reset(_) => Err(refusal(sql, "RESET")),
    }
}

/// The statement must be one whose rows are computed; steps of jobs are.
pub(super) fn only_query(statement: &Statement, sql: &SqlText<'_>) -> Result<(), PlanError> {
    match kind(statement, sql)? {
        Kind::Query => Ok(()),
        Kind::Metadata | Kind::Explain(_) => Err(sql.error("a step's SQL must be a SELECT", None)),
    }
}

fn refusal(sql: &SqlText<'_>, text: &str) -> PlanError {
    let words: Vec<&str> =
        text.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_uppercase())).take(2).collect();
    let help = match words.first() {
        Some(&"SET" | &"RESET") => "settings are given beside the statement",
        Some(&"CREATE") => "name tables with --table name=PATH, or write FROM 'PATH'",
        _ => "to write data, use --output, or a job file with a [[sink]]",
    };
    sql.error(format!("{} is not a query", words.join(" ")), Some(help.to_owned()))
}

/// The tables that a statement reads by name, CTEs and functions left out.
pub(super) fn tables_of(
    statement: &Statement,
    context: &SessionContext,
    sql: &SqlText<'_>,
) -> Result<Vec<TableReference>, PlanError> {
    let references = references(statement, context, sql)?;
    let state = context.state_ref();
    let state = state.read();
    let is_function = |name: &str| state.table_functions().contains_key(name);
    Ok(references.into_iter().filter(|reference| !is_function(reference.table())).collect())
}

/// The tables and functions that a statement reads from by name, CTEs left out. A table may have the name of a function.
pub(super) fn references(
    statement: &Statement,
    context: &SessionContext,
    sql: &SqlText<'_>,
) -> Result<Vec<TableReference>, PlanError> {
    context.state_ref().read().resolve_table_references(statement).map_err(|error| sql.explain(&error))
}

/// Whether the rows of a statement are known to the planner alone: those about settings, tables and columns.
pub(super) fn is_metadata(
    statement: &Statement,
    context: &SessionContext,
    sql: &SqlText<'_>,
) -> Result<bool, PlanError> {
    let is_catalog = |table: &TableReference| table.schema() == Some("information_schema");
    Ok(match kind(statement, sql)? {
        Kind::Metadata => true,
        Kind::Query => tables_of(statement, context, sql)?.iter().any(is_catalog),
        Kind::Explain(_) => false,
    })
}
