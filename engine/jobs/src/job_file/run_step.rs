//! What a `[[step]]` says that runs a function.

use serde_json::{Map, Value};

use super::document::{Located, Section, suggestion};
use super::error::JobFileError;

/// Keys of a step that only one with `run` may have.
pub(super) const RUN_KEYS: [&str; 6] = ["args", "schema", "like", "batch_rows", "whole", "resources"];

/// A function over the rows of a step's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStep {
    /// The function's name: a built-in one, or one of the job's package.
    pub function: String,
    /// Its arguments.
    pub args: Map<String, Value>,
    /// The columns that it gives, unless it is built in.
    pub schema: Option<String>,
    /// The table whose columns it gives too, before those of `schema`.
    pub like: Option<String>,
    /// Rows of one call.
    pub batch_rows: Option<u64>,
    /// It is called once, for all rows.
    pub whole: Option<bool>,
}

/// The function `name` with what `section` says of it.
pub(super) fn read(section: &Section<'_, '_>, name: String) -> Result<RunStep, JobFileError> {
    check_resources(section)?;
    Ok(RunStep {
        function: name.trim().to_owned(),
        args: section.object("args")?.map(|args| args.value).unwrap_or_default(),
        schema: section.string("schema")?.map(|schema| schema.value),
        like: section.string("like")?.map(|table| table.value),
        batch_rows: batch_rows(section)?,
        whole: section.boolean("whole")?,
    })
}

/// Refuses what says nothing about a query.
pub(super) fn refuse(section: &Section<'_, '_>) -> Result<(), JobFileError> {
    match RUN_KEYS.iter().find_map(|key| section.raw(key).map(|value| (key, value))) {
        None => Ok(()),
        Some((key, value)) => Err(section.error_at(&value.span(), format!("`{key}` is for a [[step]] with `run`"))),
    }
}

/// What is wrong with the function of a step, and what to do.
pub(super) fn check(run: &RunStep, has_package: bool) -> Result<(), (String, String)> {
    let RunStep { function, .. } = run;
    let declares = run.schema.is_some() || run.like.is_some();
    match tandem_functions::find(function) {
        Some(_) if declares => {
            Err((format!("`{function}` is built in and has its own columns"), "leave out schema and like".to_owned()))
        }
        Some(_) if has_package => {
            let what = format!("`{function}` is built in, and a job with a `package` runs only the functions of that");
            Err((what, "put the step into a job of its own".to_owned()))
        }
        Some(_) => Ok(()),
        None if !has_package => {
            let known = tandem_functions::all().iter().map(|function| function.name);
            let help = suggestion(function, known, "built-in function");
            Err((format!("there is no function `{function}`"), format!("{help} (your own come with a `package`)")))
        }
        None if !declares => {
            let help = "write schema = \"name type, …\", or like = \"TABLE\" for the columns of a table";
            Err((format!("it does not say which columns `{function}` gives"), help.to_owned()))
        }
        None => Ok(()),
    }
}

fn batch_rows(section: &Section<'_, '_>) -> Result<Option<u64>, JobFileError> {
    match section.count("batch_rows")? {
        Some(Located { value: 0, span }) => Err(section.error_at(&span, "`batch_rows` cannot be 0")),
        rows => Ok(rows.map(|rows| rows.value)),
    }
}

/// A call has the slot of its task, so it can be given no more than that.
fn check_resources(section: &Section<'_, '_>) -> Result<(), JobFileError> {
    let Some(table) = section.object("resources")? else { return Ok(()) };
    for (name, amount) in table.value {
        let most = if name == "cpus" { 1.0 } else { 0.0 };
        if !amount.as_f64().is_some_and(|amount| (0.0..=most).contains(&amount)) {
            let error = section.error_at(&table.span, format!("`{name}` of `resources` cannot be {amount}"));
            return Err(error.with_help("a call has one processor of its worker, and nothing else yet"));
        }
    }
    Ok(())
}
