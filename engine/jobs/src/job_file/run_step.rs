//! What a `[[step]]` says that runs a function.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tandem_proto::resources::{GPUS, is_name, milli, refuse_gpus};

use super::document::{Located, Section, suggestion};
use super::error::JobFileError;

/// Keys of a step that only one with `run` may have.
pub(super) const RUN_KEYS: [&str; 7] = ["args", "schema", "like", "batch_rows", "whole", "resources", "labels"];

const NAMES_OF_RESOURCES: &str =
    "they are cpus, gpus, and those that workers are started with, as in `tandem worker --resource license=2`";

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
    /// What a call takes of its worker: thousandths by name, none of them zero.
    pub resources: BTreeMap<String, u64>,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
}

/// The function `name` with what `section` says of it.
pub(super) fn read(section: &Section<'_, '_>, name: String) -> Result<RunStep, JobFileError> {
    Ok(RunStep {
        function: name.trim().to_owned(),
        args: section.object("args")?.map(|args| args.value).unwrap_or_default(),
        schema: section.string("schema")?.map(|schema| schema.value),
        like: section.string("like")?.map(|table| table.value),
        batch_rows: batch_rows(section)?,
        whole: section.boolean("whole")?,
        resources: resources(section)?,
        labels: labels(section)?,
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

/// Amounts are thousandths at the finest; nothing is no demand.
fn resources(section: &Section<'_, '_>) -> Result<BTreeMap<String, u64>, JobFileError> {
    let Some(table) = section.object("resources")? else { return Ok(BTreeMap::new()) };
    let mut resources = BTreeMap::new();
    for (name, amount) in table.value {
        let wrong = |what: &str, help: &str| Err(section.error_at(&table.span, what).with_help(help));
        if !is_name(&name) || name == "memory" {
            return wrong(&format!("`{name}` of `resources` is no name of a resource"), NAMES_OF_RESOURCES);
        }
        match amount.as_f64().and_then(milli) {
            Some(0) => {}
            Some(milli) if name == GPUS && refuse_gpus(milli).is_some() => {
                let what = format!("`{name}` of `resources` cannot be {amount}");
                return wrong(&what, "a task has whole GPUs, or a part of one, such as 0.5");
            }
            Some(milli) => _ = resources.insert(name, milli),
            None => {
                let what = format!("`{name}` of `resources` cannot be {amount}");
                return wrong(&what, "it is a number from 0, such as 1 or 0.5");
            }
        }
    }
    Ok(resources)
}

fn labels(section: &Section<'_, '_>) -> Result<BTreeMap<String, String>, JobFileError> {
    let Some(table) = section.object("labels")? else { return Ok(BTreeMap::new()) };
    let label = |(name, value)| match value {
        Value::String(value) => Ok((name, value)),
        other => Err(section.error_at(&table.span, format!("label `{name}` must be a string, not {other}"))),
    };
    table.value.into_iter().map(label).collect()
}
