//! From what users type to the job spec that is submitted: job files, built-in jobs, queries, variables and secrets.
//! A wrong job file is found here, before any cluster is started or asked.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tandem_jobs::builtin::{self, BUILT_INS};
use tandem_jobs::job_file::{JobFile, JobFileError};
use tandem_proto::v1;

use super::{Exit, Failure};

/// Variables of object storage: a client's own go with its jobs, as secrets.
const STORAGE_PREFIX: &str = "AWS_";

/// Which job, and with what.
#[derive(Debug, clap::Args)]
pub(super) struct JobArgs {
    /// Job file, or the name of a built-in job: sales, sales-etl, sales-analysis, events
    #[arg(value_name = "JOB.toml|BUILT-IN")]
    job: String,
    /// Param of the job; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// Variable for the job's tasks; without a value, this command's own
    #[arg(long, value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Variable of this command that the job's tasks get but nobody is shown
    #[arg(long, value_name = "KEY")]
    secret: Vec<String>,
}

/// A statement and its tables.
#[derive(Debug, clap::Args)]
pub(super) struct QueryArgs {
    /// The statement
    #[arg(short, long, value_name = "SQL", required_unless_present = "file", conflicts_with = "file")]
    execute: Option<String>,
    /// File with the statement
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Table over files, such as t=data/*.csv; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_pair)]
    table: Vec<(String, String)>,
    /// Option of the query engine, such as datafusion.execution.batch_size=1024; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

/// A job that is known to be well formed.
pub(super) struct CheckedJob {
    pub(super) spec: v1::JobSpec,
    /// What it writes.
    pub(super) file: JobFile,
}

impl JobArgs {
    /// Reads and checks the job. `name` replaces its own name.
    pub(super) fn checked(&self, name: Option<&str>) -> Result<CheckedJob, Failure> {
        let params: BTreeMap<String, String> = self.set.iter().cloned().collect();
        let source = self.job_file(&params)?;
        let file = JobFile::parse(&source.toml, &source.origin, &params)?;
        if file.package.is_some() {
            let message = format!("{}: a job file cannot bring a `package` to a cluster yet", source.origin);
            return Err(Failure::usage(message).with_help("steps can run the functions that are built in"));
        }
        let spec = v1::JobSpec {
            name: name.unwrap_or(&file.name).to_owned(),
            work: Some(v1::job_spec::Work::File(source)),
            environment: self.env.iter().map(|given| variable(given)).collect::<Result<_, _>>()?,
            secrets: secrets(&self.secret)?,
            ..v1::JobSpec::default()
        };
        Ok(CheckedJob { spec, file })
    }

    fn job_file(&self, params: &BTreeMap<String, String>) -> Result<v1::JobFile, Failure> {
        let base_dir = working_folder()?;
        if let Some(file) = builtin::job_file(&self.job, params, &base_dir) {
            return Ok(file);
        }
        let path = Path::new(&self.job);
        let toml = std::fs::read_to_string(path).map_err(|error| self.unreadable(&error))?;
        let params = params.clone().into_iter().collect();
        Ok(v1::JobFile { toml, params, base_dir, origin: self.job.clone() })
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let names: Vec<&str> = BUILT_INS.iter().map(|(name, _)| *name).collect();
        let help = format!("built-in jobs are {}", names.join(", "));
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(Exit::NotFound, format!("no such job file or built-in job: {}", self.job)).with_help(help)
            }
            _ => Failure::usage(format!("cannot read the job file: {}: {error}", self.job)),
        }
    }
}

impl QueryArgs {
    /// The spec of the query.
    pub(super) fn spec(&self) -> Result<v1::JobSpec, Failure> {
        let sql = match (&self.execute, &self.file) {
            (Some(sql), _) => sql.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("cannot read the statement: {}: {error}", path.display())))?,
            (None, None) => return Err(Failure::usage("no statement").with_help("give one with -e or -f")),
        };
        let table = |(name, path): &(String, String)| v1::Table {
            name: name.clone(),
            path: path.clone(),
            format: String::new(),
        };
        let query = v1::Query {
            sql,
            tables: self.table.iter().map(table).collect(),
            settings: self.set.iter().cloned().collect(),
            base_dir: working_folder()?,
        };
        Ok(v1::JobSpec {
            name: "sql".to_owned(),
            work: Some(v1::job_spec::Work::Query(query)),
            environment: HashMap::new(),
            secrets: secrets(&[])?,
            ..v1::JobSpec::default()
        })
    }
}

/// Relative paths mean what they mean to the shell the command was typed in.
fn working_folder() -> Result<String, Failure> {
    let folder = std::env::current_dir()
        .map_err(|error| Failure::failed(format!("the working folder cannot be used: {error}")))?;
    let text = folder
        .to_str()
        .ok_or_else(|| Failure::usage(format!("the name of the working folder is not UTF-8: {}", folder.display())))?;
    Ok(text.to_owned())
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it looks like key=value".to_owned()),
    }
}

fn variable(given: &str) -> Result<(String, String), Failure> {
    match parse_pair(given) {
        Ok(pair) => Ok(pair),
        Err(_) => Ok((given.to_owned(), own_variable(given)?)),
    }
}

fn own_variable(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| Failure::usage(format!("the variable {name} is not set")))
}

fn secrets(names: &[String]) -> Result<HashMap<String, String>, Failure> {
    let mut all: HashMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with(STORAGE_PREFIX)).collect();
    for name in names {
        all.insert(name.clone(), own_variable(name)?);
    }
    Ok(all)
}

impl From<JobFileError> for Failure {
    fn from(error: JobFileError) -> Self {
        let failure = Self::usage(error.to_string());
        match error.help {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}
