//! What planning a job gives: everything that runs, commits and reports it, as plain data for the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_exec::session::QuerySettings;
use tandem_exec::sink::SinkSpec;
use tandem_graph::StageGraph;
use tandem_proto::{StageId, v1};

use crate::job_file::Removes;

/// A job that is ready to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PlannedJob {
    /// What the job is called.
    pub name: String,
    /// Its stages.
    pub graph: StageGraph,
    /// The session settings its stages run with.
    pub settings: QuerySettings,
    /// The rows that go to the client, for a query.
    pub result: Option<ResultInfo>,
    /// What is published when all stages are done, the rejects of sources included.
    pub sinks: Vec<SinkSpec>,
    /// Bounds on the rows of whole steps, checked before anything is published.
    pub count_checks: Vec<CountCheck>,
    /// Variables of the job's tasks.
    pub environment: BTreeMap<String, String>,
    /// Like `environment`, but never shown or logged.
    pub secrets: BTreeMap<String, String>,
    /// How often the whole job may start again.
    pub retries: u32,
    /// Tasks that take far longer than the others of their stage get a second attempt.
    pub race_stragglers: bool,
    /// How long it may take.
    pub timeout_ms: Option<u64>,
    /// What executors run that work for the job; none when it needs no executors.
    pub program: Option<PlannedProgram>,
    /// What a report needs to know besides the counts.
    pub report: ReportSpec,
}

/// The user's code, or what is built into the `tandem` binary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedProgram {
    /// The SHA-256 of the package's executable; empty for what is built in.
    pub package: String,
    /// What the driver gets as arguments.
    pub args: Vec<String>,
    /// Where the client had the executable.
    pub path: String,
    /// The encoded actor that runs in place of a driver; empty if there is none.
    pub actor: Vec<u8>,
    /// Files that its processes read.
    pub files: Vec<PlannedFile>,
}

/// A file that is attached to a program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedFile {
    /// How tasks call it.
    pub name: String,
    /// Its SHA-256.
    pub hash: String,
    /// Its size.
    pub bytes: u64,
    /// Where the client had it.
    pub path: String,
}

impl From<v1::AttachedFile> for PlannedFile {
    fn from(file: v1::AttachedFile) -> Self {
        let v1::AttachedFile { name, hash, bytes, path } = file;
        Self { name, hash, bytes, path }
    }
}

impl From<PlannedFile> for v1::AttachedFile {
    fn from(file: PlannedFile) -> Self {
        let PlannedFile { name, hash, bytes, path } = file;
        Self { name, hash, bytes, path }
    }
}

impl From<v1::Program> for PlannedProgram {
    fn from(program: v1::Program) -> Self {
        // Where its driver runs is said by the stage.
        let v1::Program { package, args, path, actor, driver: _, files } = program;
        Self { package, args, path, actor, files: files.into_iter().map(Into::into).collect() }
    }
}

impl From<PlannedProgram> for v1::Program {
    fn from(program: PlannedProgram) -> Self {
        let PlannedProgram { package, args, path, actor, files } = program;
        let files = files.into_iter().map(Into::into).collect();
        Self { package, args, path, actor, files, ..Self::default() }
    }
}

/// Where a query's rows are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultInfo {
    /// The stage whose partitions, in order, are the rows.
    pub stage: StageId,
    /// Their schema as an Arrow IPC message.
    pub schema_ipc: Vec<u8>,
}

/// Bounds on the number of rows of one step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountCheck {
    /// The step.
    pub step: String,
    /// Fewest rows, inclusive.
    pub min_rows: Option<u64>,
    /// Most rows, inclusive.
    pub max_rows: Option<u64>,
}

/// The shape of a job file, for its report.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSpec {
    /// The folder that `summary.json` and `report.md` are written to; absolute.
    pub folder: Option<String>,
    /// Names and values, sorted by name.
    pub params: Vec<(String, String)>,
    /// Tables it reads.
    pub sources: Vec<ReportSource>,
    /// What it computes.
    pub steps: Vec<ReportStep>,
    /// What it writes.
    pub sinks: Vec<ReportSink>,
}

/// A source in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSource {
    /// Its name in counts.
    pub name: String,
    /// What it reads.
    pub paths: Vec<String>,
    /// The size of its files, when its reader does not count and a probe of its name does.
    pub uncounted_bytes: Option<u64>,
    /// How often the plan reads it, if it is not read once for all readers.
    pub scans: usize,
}

/// A step in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportStep {
    /// Its name in counts.
    pub name: String,
    /// The table whose rows flow through it one by one; none when its rows are others, such as sums.
    pub input: Option<String>,
    /// What rows that do not come out are counted as.
    pub removes: Removes,
    /// Its checks, as they are written.
    pub checks: Vec<String>,
    /// Conditions that only warn, as they are written.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A sink in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSink {
    /// Its name in counts.
    pub name: String,
    /// The table it writes.
    pub from: String,
    /// Where.
    pub path: String,
}
