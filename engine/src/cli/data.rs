//! `tandem data gen`: data to try, test and measure with.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tandem_exec::error::PlanError;
use tandem_exec::storage::Storage;
use tandem_jobs::datagen::{self, Dataset, Format, GenerateError, GenerateSpec, GeneratedFile, Progress, Size};

use super::attached::Interrupts;
use super::{Exit, Failure};
use crate::output::units::{format_bytes, format_count};
use crate::output::{OutputFormat, Record, print_list};

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Make data; the same options give the same bytes
    Gen(GenArgs),
}

#[derive(Debug, Args)]
pub(super) struct GenArgs {
    /// What to make
    dataset: DatasetName,
    #[command(flatten)]
    size: SizeArgs,
    /// Other seeds give other rows
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Folder, or file for a single table; local or s3://
    #[arg(long, value_name = "URL", value_parser = NonEmptyStringValueParser::new())]
    out: String,
    /// What the files hold; default: by the ending of --out, else csv, and parquet for tpch
    #[arg(long)]
    format: Option<FormatName>,
    /// Fixed rows instead of random ones: the nine sales of the demo
    #[arg(long)]
    preset: Option<Preset>,
    /// Fraction of events with a flaw
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    dirty: f64,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SizeArgs {
    /// Rows of the main table
    #[arg(long)]
    rows: Option<u64>,
    /// Size of the main table as text, in GB
    #[arg(long)]
    gb: Option<f64>,
    /// Scale factor of tpch
    #[arg(long)]
    scale: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DatasetName {
    Sales,
    Events,
    Articles,
    Tpch,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    Demo,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    Csv,
    Jsonl,
    Parquet,
}

#[derive(Debug, Serialize)]
struct FileView {
    path: String,
    rows: u64,
    bytes: u64,
}

impl Record for FileView {
    const COLUMNS: &'static [&'static str] = &["path", "rows", "bytes"];

    fn cells(&self) -> Vec<String> {
        vec![self.path.clone(), format_count(self.rows), format_bytes(self.bytes)]
    }
}

impl From<GeneratedFile> for FileView {
    fn from(file: GeneratedFile) -> Self {
        Self { path: file.path, rows: file.rows, bytes: file.bytes }
    }
}

/// Generates and lists the files. Rendering wants all processors, so it has a runtime of its own.
pub(super) fn execute(command: DataCommand, format: OutputFormat) -> Result<(), Failure> {
    let DataCommand::Gen(args) = command;
    let spec = spec(args)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let base_dir = std::env::current_dir()?;
    let environment: BTreeMap<String, String> = std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).collect();
    let bar = progress_bar();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let files: Result<_, Failure> = runtime.block_on(async {
        let mut interrupts = Interrupts::new()?;
        let storage = Storage::new(environment);
        let show = |progress: Progress| {
            bar.set_length(progress.rows_total);
            bar.set_position(progress.rows);
            bar.set_message(format_bytes(progress.bytes));
        };
        Ok(datagen::generate(&spec, &storage, &base_dir, threads, show, interrupts.next()).await?)
    });
    bar.finish_and_clear();
    let views: Vec<FileView> = files?.into_iter().map(FileView::from).collect();
    print_list(format, &views)
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} rows, {msg}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn spec(args: GenArgs) -> Result<GenerateSpec, Failure> {
    let size = match args.size {
        SizeArgs { rows: Some(rows), .. } => Size::Rows(rows),
        SizeArgs { gb: Some(gb), .. } if gb > 0.0 => Size::Bytes((gb * 1e9) as u64),
        SizeArgs { scale: Some(scale), .. } => Size::Scale(scale),
        SizeArgs { .. } => return Err(Failure::usage("the size must be above 0")),
    };
    let dataset = match (args.dataset, args.preset) {
        (DatasetName::Sales, Some(Preset::Demo)) => Dataset::SalesDemo,
        (_, Some(Preset::Demo)) => return Err(Failure::usage("only sales has a demo preset")),
        (DatasetName::Sales, None) => Dataset::Sales,
        (DatasetName::Events, None) => Dataset::Events,
        (DatasetName::Articles, None) => Dataset::Articles,
        (DatasetName::Tpch, None) => Dataset::Tpch,
    };
    let format = args.format.map(|format| match format {
        FormatName::Csv => Format::Csv,
        FormatName::Jsonl => Format::Jsonl,
        FormatName::Parquet => Format::Parquet,
    });
    Ok(GenerateSpec { dataset, size, seed: args.seed, out: args.out, format, dirty: args.dirty })
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Self {
        let message = error.to_string();
        match error {
            GenerateError::Place(error) => error.into(),
            GenerateError::Spec(_) | GenerateError::Scale(_) => Self::usage(message),
            GenerateError::Stopped => Self::new(Exit::Interrupted, message),
            GenerateError::Write { .. }
            | GenerateError::Arrow(_)
            | GenerateError::Parquet(_)
            | GenerateError::Thread(_) => Self::failed(message),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let failure = Self::usage(error.to_string());
        match error {
            PlanError::Invalid { help: Some(help), .. } => failure.with_help(help),
            _ => failure,
        }
    }
}
