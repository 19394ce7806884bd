//! The job file: what a job reads, does and writes, as one TOML text. README.md shows one.
//!
//! Parsing needs no cluster and no data: a client checks a file with the same code before it submits it. Names are
//! checked here (each is defined once, before it is used); SQL, tables and columns are checked by the planner.

mod document;
mod error;
mod params;
mod quantity;
mod run_step;
mod sections;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub use error::JobFileError;
pub use params::Params;
pub use quantity::{parse_duration, parse_size};
pub use run_step::RunStep;
pub use sections::{Removes, Sink, Source, SqlStep, Step, StepWork};

pub(crate) use document::suggestion;
use document::{Document, Section};
pub(crate) use sections::{SOURCE_COMPRESSIONS, SOURCE_FORMATS};

/// Keys of the file itself.
const KEYS: [&str; 11] =
    ["name", "retries", "timeout", "report", "params", "env", "package", "attach", "source", "step", "sink"];

/// A job file with its params filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    /// What the job is called.
    pub name: String,
    /// How often the whole job may start again.
    pub retries: u32,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// The folder that the run's report is written to.
    pub report: Option<String>,
    /// The params of this run.
    pub params: Params,
    /// `[env]`: variables of the job's tasks.
    pub environment: BTreeMap<String, String>,
    /// The user's own executable, whose functions steps may run.
    pub package: Option<String>,
    /// Files and folders that its functions read, each `PATH` or `PATH=NAME`, or `ARCHIVE=NAME/` to be unpacked.
    pub attach: Vec<String>,
    /// Tables it reads.
    pub sources: Vec<Source>,
    /// What it computes, in order.
    pub steps: Vec<Step>,
    /// What it writes.
    pub sinks: Vec<Sink>,
    /// How errors name the file.
    pub origin: String,
}

impl JobFile {
    /// Parses `text`. `overrides` replace params; `origin` names the file in errors.
    pub fn parse(text: &str, origin: &str, overrides: &BTreeMap<String, String>) -> Result<Self, JobFileError> {
        let document = Document { text, origin };
        let table = document.parse()?;
        let params = Params::read(&document, params_table(&document, &table)?, overrides)?;
        let root = Section::open(&document, &params, &table, "the job file", 0, &KEYS)?;
        let mut file = Self {
            name: job_name(&root)?,
            retries: sections::retries(&root)?,
            timeout: sections::duration(&root, "timeout")?,
            report: root.string("report")?.map(|path| path.value),
            environment: environment(&root, &document, &params)?,
            package: package(&root)?,
            attach: attach(&root)?,
            sources: read_all(&root, "source", &sections::SOURCE_KEYS, sections::source)?,
            steps: read_all(&root, "step", &sections::STEP_KEYS, sections::step)?,
            sinks: read_all(&root, "sink", &sections::SINK_KEYS, sections::sink)?,
            origin: origin.to_owned(),
            params: params.clone(),
        };
        distinguish(&mut file.sinks);
        file.check_names()?;
        file.check_functions()?;
        Ok(file)
    }

    /// Each name is given once, and sinks and inputs refer to names that exist.
    fn check_names(&self) -> Result<(), JobFileError> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for source in &self.sources {
            if !names.insert(&source.spec.name) {
                return Err(self.error(source.line, format!("the name `{}` is used twice", source.spec.name)));
            }
        }
        for step in &self.steps {
            for (what, table) in step.tables() {
                if !names.contains(table) {
                    let what = format!("step `{}` takes its {what} from `{table}`, which is not above it", step.name);
                    let help = suggestion(table, names.iter().copied(), "table");
                    return Err(self.error(step.line, what).with_help(help));
                }
            }
            self.check_input(step, &names)?;
            if !names.insert(&step.name) {
                return Err(self.error(step.line, format!("the name `{}` is used twice", step.name)));
            }
        }
        if let Some(sink) = self.sinks.iter().find(|sink| !names.contains(sink.from.as_str())) {
            let what = format!("a sink takes its rows from `{}`, which is no source or step", sink.from);
            let help = suggestion(&sink.from, names.iter().copied(), "table");
            return Err(self.error(sink.line, what).with_help(help));
        }
        self.check_sinks()
    }

    /// A function works on one table.
    fn check_input(&self, step: &Step, above: &BTreeSet<&str>) -> Result<(), JobFileError> {
        if step.input.is_some() || matches!(step.work, StepWork::Sql(_)) {
            return Ok(());
        }
        let names: Vec<&str> = above.iter().copied().collect();
        let error = self.error(step.line, format!("step `{}` runs a function and has no `input`", step.name));
        Err(error.with_help(match names.as_slice() {
            [] => "a table must stand above it".to_owned(),
            names => format!("say whose rows it works on: {}", names.join(", ")),
        }))
    }

    /// Whether a step is a function, so that the job needs executors.
    pub fn runs_functions(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.work, StepWork::Run(_)))
    }

    /// Each function is built in, or the package has it, as far as can be known before it runs.
    fn check_functions(&self) -> Result<(), JobFileError> {
        self.steps.iter().try_for_each(|step| match &step.work {
            StepWork::Run(run) => run_step::check(run, self.package.is_some())
                .map_err(|(what, help)| self.error(step.line, format!("step `{}`: {what}", step.name)).with_help(help)),
            StepWork::Sql(_) => Ok(()),
        })
    }

    /// There is a sink, and no two write to the same place.
    fn check_sinks(&self) -> Result<(), JobFileError> {
        let mut paths = BTreeSet::new();
        if let Some(sink) = self.sinks.iter().find(|sink| !paths.insert(sink.spec.path.trim_end_matches('/'))) {
            return Err(self.error(sink.line, format!("two sinks write to `{}`", sink.spec.path)));
        }
        if self.sinks.is_empty() {
            let error = self.error(1, "the job writes nothing: it has no [[sink]]");
            return Err(error.with_help("use `tandem sql` to see rows without writing them"));
        }
        Ok(())
    }

    /// How errors call a line of this file.
    pub(crate) fn place(&self, line: usize) -> String {
        format!("{}:{line}", self.origin)
    }

    pub(crate) fn error(&self, line: usize, message: impl Into<String>) -> JobFileError {
        JobFileError { origin: self.origin.clone(), line, message: message.into(), help: None }
    }
}

/// Gives sinks that end in the same name different ones, which counts and staged files tell them apart by.
fn distinguish(sinks: &mut [Sink]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for sink in sinks {
        let base = sink.spec.name.clone();
        let numbered = (2..).map(|n| format!("{base}-{n}"));
        if let Some(free) = std::iter::once(base.clone()).chain(numbered).find(|name| !taken.contains(name)) {
            sink.spec.name = free.clone();
            taken.insert(free);
        }
    }
}

fn params_table<'a, 'd>(
    document: &Document<'d>,
    table: &'a DeTable<'d>,
) -> Result<Option<&'a DeTable<'d>>, JobFileError> {
    match table.get("params") {
        None => Ok(None),
        Some(value) => match value.get_ref() {
            DeValue::Table(params) => Ok(Some(params)),
            _ => Err(document.error_at(value.span().start, "`params` must be a table, written [params]")),
        },
    }
}

fn job_name(root: &Section<'_, '_>) -> Result<String, JobFileError> {
    let name = root.required("name")?;
    let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
    if name.value.chars().all(plain) && name.value.len() <= 100 {
        return Ok(name.value);
    }
    Err(root.error_at(&name.span, "`name` may have up to 100 letters, digits, `-`, `_`, `.` and spaces"))
}

fn environment(
    root: &Section<'_, '_>,
    document: &Document<'_>,
    params: &Params,
) -> Result<BTreeMap<String, String>, JobFileError> {
    let Some(value) = root.raw("env") else { return Ok(BTreeMap::new()) };
    let DeValue::Table(table) = value.get_ref() else {
        return Err(root.mismatch("env", value, "a table, written [env]"));
    };
    let mut environment = BTreeMap::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        let DeValue::String(text) = value.get_ref() else {
            return Err(document.error_at(value.span().start, format!("`{name}` of [env] must be a string")));
        };
        let filled = params
            .fill(text)
            .map_err(|error| document.error_at(value.span().start, error.to_string()).with_help(error.help(params)))?;
        environment.insert(name, filled);
    }
    Ok(environment)
}

/// Every table of the array `key`, read by `read`.
fn read_all<T>(
    root: &Section<'_, '_>,
    key: &'static str,
    keys: &'static [&'static str],
    read: impl Fn(&Section<'_, '_>) -> Result<T, JobFileError>,
) -> Result<Vec<T>, JobFileError> {
    let Some(value) = root.raw(key) else { return Ok(Vec::new()) };
    let wrong =
        |value: &Spanned<DeValue<'_>>| root.mismatch(key, value, &format!("a list of tables, each written [[{key}]]"));
    let DeValue::Array(items) = value.get_ref() else { return Err(wrong(value)) };
    let entry = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
        DeValue::Table(table) => read(&root.child(table, format!("[[{key}]]"), item.span().start, keys)?),
        _ => Err(wrong(item)),
    };
    items.iter().map(entry).collect()
}

fn package(root: &Section<'_, '_>) -> Result<Option<String>, JobFileError> {
    match root.string("package")? {
        Some(path) if path.value.trim().is_empty() => Err(root.error_at(&path.span, "`package` is empty")),
        path => Ok(path.map(|path| path.value)),
    }
}

fn attach(root: &Section<'_, '_>) -> Result<Vec<String>, JobFileError> {
    let files = root.strings("attach")?;
    match files.first() {
        Some(first) if root.raw("package").is_none() => {
            let error = root.error_at(&first.span, "`attach` needs a `package`");
            Err(error.with_help("files are attached for the functions of a package"))
        }
        _ => Ok(files.into_iter().map(|file| file.value).collect()),
    }
}

#[cfg(test)]
mod tests;
