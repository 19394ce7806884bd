//! From what users type to the job spec that is submitted: job files, built-in jobs, programs, queries, variables and secrets.
//! A wrong job file, and an executable that is no package, are found here, before any cluster is started or asked.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use tandem_client::Client;
use tandem_exec::storage::Storage;
use tandem_jobs::builtin::{self, BUILT_INS, Needed};
use tandem_jobs::job_file::{JobFile, JobFileError, Sink};
use tandem_package::{AttachError, AttachedFile, Package, Unfit, inspect, is_executable_format};
use tandem_proto::v1::job_spec::Work;
use tandem_proto::{JobId, v1};

use super::attached::{self, Interrupts, OnInterrupt};
use super::job::logs;
use super::{Exit, Failure};
use crate::output::UploadProgress;

/// Which job, and with what.
#[derive(Debug, clap::Args)]
pub(super) struct JobArgs {
    /// Job file, program, or the name of a built-in job: sales, sales-etl, sales-analysis, events, embed
    #[arg(value_name = "JOB.toml|BUILT-IN|EXECUTABLE")]
    job: String,
    /// Arguments of a program
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<String>,
    /// Param of a job file; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
    /// File or folder that the program's tasks read, under its own name or another; an archive whose NAME ends in `/` is unpacked into
    /// that folder; may be repeated
    #[arg(long, value_name = "PATH[=NAME]")]
    attach: Vec<String>,
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
    #[arg(
        short,
        long,
        value_name = "SQL",
        required_unless_present = "file",
        conflicts_with = "file",
        allow_hyphen_values = true // It may begin with a comment.
    )]
    execute: Option<String>,
    /// File with the statement
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A table of the statement: its name, and the path of its files. PATH is a file, a folder or a pattern, local or s3://, of csv, tsv,
    /// jsonl, json, parquet or arrow files; text may be packed as .gz or .zst. Such as --table sales='data/2026-*.csv'; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = parse_table)]
    table: Vec<(String, String)>,
    /// Option of the query engine, such as datafusion.execution.batch_size=1024; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    set: Vec<(String, String)>,
}

/// A job that is known to be well formed.
pub(super) struct CheckedJob {
    spec: v1::JobSpec,
    /// What it writes, as far as that is known before it runs.
    pub(super) sinks: Vec<Sink>,
    brought: Option<Brought>,
}

/// What a job needs of this machine.
struct Brought {
    path: PathBuf,
    package: Package,
    attached: Vec<AttachedFile>,
}

impl CheckedJob {
    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    /// A query that reaches what this job reaches.
    pub(super) fn query(&self, name: String, query: v1::Query) -> v1::JobSpec {
        let (environment, secrets) = (self.spec.environment.clone(), self.spec.secrets.clone());
        v1::JobSpec { name, work: Some(Work::Query(query)), environment, secrets, ..v1::JobSpec::default() }
    }

    /// The storage that it reads and writes.
    pub(super) fn storage(&self) -> Storage {
        Storage::new(self.spec.environment.clone().into_iter().chain(self.spec.secrets.clone()).collect())
    }

    /// Brings its package and what is attached to that to the cluster, and then the job itself.
    pub(super) async fn submit(&self, client: &Client, is_attached: bool) -> Result<v1::SubmitResponse, Failure> {
        if let Some(Brought { path, package, attached }) = &self.brought {
            let progress = UploadProgress::new(package.bytes);
            client.bring_package(path, package, |bytes| progress.update(bytes)).await?;
            for file in attached {
                let progress = UploadProgress::new(file.bytes);
                client.bring_attached(file, |bytes| progress.update(bytes)).await?;
            }
        }
        Ok(client.submit(attached::submission(self.spec.clone(), is_attached)).await?)
    }

    /// Follows it to its end, Ctrl-C stops it. A program prints what it has to say.
    pub(super) async fn follow(
        &self,
        client: &Client,
        id: JobId,
        interrupts: &mut Interrupts,
    ) -> Result<v1::JobStatus, Failure> {
        let follow = attached::follow(client, id, interrupts, OnInterrupt::Stop);
        match self.spec.work {
            Some(Work::Program(_)) => logs::beside(client, id, follow).await,
            _ => follow.await,
        }
    }
}

impl JobArgs {
    /// Reads and checks the job. `name` replaces its own name.
    pub(super) fn checked(&self, name: Option<&str>) -> Result<CheckedJob, Failure> {
        let mut job = if is_executable_format(Path::new(&self.job)) { self.program()? } else { self.file()? };
        for given in &self.env {
            job.spec.environment.extend([variable(given)?]);
        }
        job.spec.secrets = secrets(&self.secret)?;
        if let Some(name) = name {
            job.spec.name = name.to_owned();
        }
        Ok(job)
    }

    fn program(&self) -> Result<CheckedJob, Failure> {
        if let Some((key, _)) = self.set.first() {
            let message = format!("`--set {key}` is for job files, and {} is a program", self.job);
            return Err(Failure::usage(message).with_help("give it arguments after `--`"));
        }
        let path = Path::new(&self.job);
        let (program, brought) = bring(path, &self.job, self.args.clone(), &self.attach)?;
        let name = tandem_client::program_name(path);
        let spec = v1::JobSpec { name, work: Some(Work::Program(program)), ..v1::JobSpec::default() };
        Ok(CheckedJob { spec, sinks: Vec::new(), brought: Some(brought) })
    }

    fn file(&self) -> Result<CheckedJob, Failure> {
        let params: BTreeMap<String, String> = self.set.iter().cloned().collect();
        let mut source = self.job_file(&params)?;
        let file = JobFile::parse(&source.toml, &source.origin, &params)?;
        if !self.args.is_empty() {
            let message = format!("arguments after `--` are for programs, and {} is none", self.job);
            return Err(Failure::usage(message).with_help("params of a job file are set with --set KEY=VALUE"));
        }
        if let (None, Some(first)) = (&file.package, self.attach.first()) {
            let message = format!("`--attach {first}` is for programs, and {} has no `package`", self.job);
            return Err(Failure::usage(message));
        }
        let mut brought = None;
        if let Some(path) = file.package.as_deref().map(Path::new) {
            let origin = format!("{}: package {}", source.origin, path.display());
            let attach = file.attach.iter().chain(&self.attach);
            let (program, needed) = bring(path, &origin, Vec::new(), attach)?;
            source.program = Some(program);
            brought = Some(needed);
        }
        let environment = file.environment.into_iter().collect();
        let work = Some(Work::File(source));
        let spec = v1::JobSpec { name: file.name, work, environment, ..v1::JobSpec::default() };
        Ok(CheckedJob { spec, sinks: file.sinks, brought })
    }

    fn job_file(&self, params: &BTreeMap<String, String>) -> Result<v1::JobFile, Failure> {
        let base_dir = working_folder()?;
        if let Some(file) = builtin::job_file(&self.job, params, &base_dir) {
            return match builtin::missing_param(&self.job, params) {
                None => Ok(file),
                Some(Needed { param, about }) => Err(Failure::usage(format!("`{}` needs {about}", self.job))
                    .with_help(format!("name it with --set {param}=PATH"))),
            };
        }
        let path = Path::new(&self.job);
        let toml = std::fs::read_to_string(path).map_err(|error| self.unreadable(&error))?;
        let params = params.clone().into_iter().collect();
        Ok(v1::JobFile { toml, params, base_dir, origin: self.job.clone(), program: None })
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let names: Vec<&str> = BUILT_INS.iter().map(|(name, _)| *name).collect();
        let help = format!("built-in jobs are {}", names.join(", "));
        match error.kind() {
            std::io::ErrorKind::NotFound => {
                let message = format!("no such job file, program or built-in job: {}", self.job);
                Failure::new(Exit::NotFound, message).with_help(help)
            }
            _ => Failure::usage(format!("cannot read the job file: {}: {error}", self.job)),
        }
    }
}

/// The executable as a program with the files attached to it, if a cluster can run it. `origin` names it in errors.
fn bring<'a>(
    path: &Path,
    origin: &str,
    args: Vec<String>,
    attach: impl IntoIterator<Item = &'a String>,
) -> Result<(v1::Program, Brought), Failure> {
    // How large it may be is the coordinator's to say.
    let package = inspect(path, u64::MAX).map_err(|unfit| {
        let exit = if matches!(unfit, Unfit::Missing) { Exit::NotFound } else { Exit::Usage };
        let failure = Failure::new(exit, format!("{origin} cannot be run: {unfit}"));
        match unfit.help() {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    })?;
    let attached = attached_files(attach)?;
    let files = tandem_client::attached_files(&attached)?;
    let program = v1::Program { files, ..tandem_client::program(path, &package, args)? };
    Ok((program, Brought { path: path.to_owned(), package, attached }))
}

/// The files and folders `PATH` or `PATH=NAME`, read.
fn attached_files<'a>(given: impl IntoIterator<Item = &'a String>) -> Result<Vec<AttachedFile>, Failure> {
    let named = |given: &String| match given.rsplit_once('=') {
        // A name with `=` in it is still a name.
        Some((path, name)) if !Path::new(given).exists() => (PathBuf::from(path), Some(name.to_owned())),
        _ => (PathBuf::from(given), None),
    };
    let given: Vec<_> = given.into_iter().map(named).collect();
    tandem_package::collect(&given).map_err(|error| match &error {
        AttachError::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, error.to_string())
        }
        _ => Failure::usage(error.to_string()),
    })
}

impl QueryArgs {
    /// The spec of the query.
    pub(super) fn spec(&self) -> Result<v1::JobSpec, Failure> {
        let sql = match (&self.execute, &self.file) {
            (Some(sql), _) => sql.clone(),
            (None, Some(path)) => statement_in(path)?,
            (None, None) => return Err(Failure::usage("no statement").with_help("give one with -e or -f")),
        };
        let table = |(name, path): &(String, String)| v1::Table {
            name: name.clone(),
            path: path.clone(),
            ..v1::Table::default()
        };
        let query = v1::Query {
            sql,
            tables: self.table.iter().map(table).collect(),
            settings: self.set.iter().cloned().collect(),
            base_dir: working_folder()?,
        };
        Ok(v1::JobSpec {
            name: "sql".to_owned(),
            work: Some(Work::Query(query)),
            environment: HashMap::new(),
            secrets: secrets(&[])?,
            ..v1::JobSpec::default()
        })
    }
}

/// The statement in a file, which may begin with a byte order mark.
fn statement_in(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Usage };
        Failure::new(exit, format!("cannot read the statement: {}: {error}", path.display()))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
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

/// Reads `key=value`.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it looks like key=value".to_owned()),
    }
}

fn parse_table(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.to_owned())),
        _ => Err("it looks like NAME=PATH, such as sales=data/sales.csv".to_owned()),
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
    let mut all: HashMap<String, String> = tandem_client::storage_secrets().collect();
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
