//! `[[source]]`, `[[step]]` and `[[sink]]`: their keys, and what each may be.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_exec::sink::{self, JsonShape, SinkFormat, SinkMode, SinkSpec};
use tandem_exec::source::{self, OnBadRow, Paths, SourceFormat, SourceSpec};

use super::document::{Located, Section};
use super::error::JobFileError;
use super::quantity::{parse_duration, parse_size};
use super::run_step::{self, RunStep};

pub(crate) const SOURCE_FORMATS: [(&str, SourceFormat); 6] = [
    ("csv", SourceFormat::Csv),
    ("tsv", SourceFormat::Tsv),
    ("jsonl", SourceFormat::Jsonl),
    ("json", SourceFormat::Json),
    ("parquet", SourceFormat::Parquet),
    ("arrow", SourceFormat::Arrow),
];
pub(crate) const SOURCE_COMPRESSIONS: [(&str, source::Compression); 3] =
    [("none", source::Compression::None), ("gzip", source::Compression::Gzip), ("zstd", source::Compression::Zstd)];
const SINK_FORMATS: [(&str, SinkFormat); 5] = [
    ("parquet", SinkFormat::Parquet),
    ("csv", SinkFormat::Csv),
    ("json", SinkFormat::Json),
    ("jsonl", SinkFormat::Jsonl),
    ("arrow", SinkFormat::Arrow),
];
const SINK_COMPRESSIONS: [(&str, sink::Compression); 5] = [
    ("none", sink::Compression::None),
    ("snappy", sink::Compression::Snappy),
    ("zstd", sink::Compression::Zstd),
    ("gzip", sink::Compression::Gzip),
    ("lz4", sink::Compression::Lz4),
];
const SINK_SHAPES: [(&str, JsonShape); 2] = [("array", JsonShape::Array), ("object", JsonShape::Object)];
const SINK_MODES: [(&str, SinkMode); 3] =
    [("overwrite", SinkMode::Overwrite), ("append", SinkMode::Append), ("error", SinkMode::Error)];

pub(super) const SOURCE_KEYS: [&str; 10] =
    ["name", "path", "format", "compression", "schema", "on_bad_row", "rejects", "header", "delimiter", "quote"];
pub(super) const STEP_KEYS: [&str; 14] = [
    "name",
    "sql",
    "run",
    "input",
    "checks",
    "warn",
    "removes",
    "args",
    "schema",
    "like",
    "batch_rows",
    "whole",
    "resources",
    "labels",
];
pub(super) const SINK_KEYS: [&str; 8] =
    ["from", "path", "format", "compression", "shape", "partition_by", "mode", "target_file_size"];

/// A table that the job reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What is read, and how; paths are as they stand in the file.
    pub spec: SourceSpec,
    /// Where it is in the file.
    pub line: usize,
}

/// One step: a table computed from those above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name in the SQL of later steps.
    pub name: String,
    /// How it is computed.
    pub work: StepWork,
    /// The table whose rows flow through this step; none: the only table that its SQL reads. A function has one.
    pub input: Option<String>,
    /// What its rows must meet: `min_rows = N`, `max_rows = N`, or a condition on each row.
    pub checks: Vec<String>,
    /// Conditions on rows that are counted in the report when they do not hold.
    pub warnings: Vec<String>,
    /// What the rows of its input that do not come out are counted as.
    pub removes: Option<Removes>,
    /// Where it is in the file.
    pub line: usize,
}

impl Step {
    /// The tables that it names outside of SQL, and as what.
    pub(super) fn tables(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let like = match &self.work {
            StepWork::Run(run) => run.like.as_deref(),
            StepWork::Sql(_) => None,
        };
        let input = self.input.as_deref().map(|table| ("input", table));
        input.into_iter().chain(like.map(|table| ("columns", table)))
    }
}

/// How a step is computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepWork {
    /// By a query.
    Sql(SqlStep),
    /// By a function.
    Run(RunStep),
}

/// A query and where its text begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlStep {
    /// The text, params filled in.
    pub text: String,
    /// The line of its first character in the job file.
    pub line: usize,
}

/// What removed rows are counted as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Removes {
    /// They did not meet the step's conditions.
    #[default]
    Dropped,
    /// Another row with the same key was kept.
    Deduplicated,
}

/// Where rows of a table go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    /// The table.
    pub from: String,
    /// What is written, and how; the path is as it stands in the file.
    pub spec: SinkSpec,
    /// Where it is in the file.
    pub line: usize,
}

pub(super) fn source(section: &Section<'_, '_>) -> Result<Source, JobFileError> {
    let policies = [("reject", OnBadRow::Reject), ("fail", OnBadRow::Fail), ("null", OnBadRow::Null)];
    let spec = SourceSpec {
        name: identifier(section, "name")?,
        path: paths(section)?,
        format: section.choice("format", &SOURCE_FORMATS)?,
        compression: section.choice("compression", &SOURCE_COMPRESSIONS)?,
        schema: section.string("schema")?.map(|schema| schema.value),
        on_bad_row: section.choice("on_bad_row", &policies)?,
        rejects: section.string("rejects")?.map(|path| path.value),
        header: section.boolean("header")?,
        delimiter: delimiter(section)?,
        quote: section.string("quote")?.map(|quote| quote.value),
        ..SourceSpec::default()
    };
    if spec.rejects.is_some() && spec.bad_row_policy() != OnBadRow::Reject {
        let error = section.error(format!("source `{}` has `rejects` but rejects nothing", spec.name));
        return Err(error.with_help("use on_bad_row = \"reject\""));
    }
    spec.validate().map_err(|error| section.invalid(error))?;
    Ok(Source { spec, line: section.line() })
}

pub(super) fn step(section: &Section<'_, '_>) -> Result<Step, JobFileError> {
    let step = Step {
        name: identifier(section, "name")?,
        work: work(section)?,
        input: section.string("input")?.map(|input| input.value),
        checks: section.strings("checks")?.into_iter().map(|check| check.value).collect(),
        warnings: section.strings("warn")?.into_iter().map(|check| check.value).collect(),
        removes: section
            .choice("removes", &[("dropped", Removes::Dropped), ("deduplicated", Removes::Deduplicated)])?,
        line: section.line(),
    };
    Ok(step)
}

pub(super) fn sink(section: &Section<'_, '_>) -> Result<Sink, JobFileError> {
    let from = section.required("from")?.value;
    let path = section.required("path")?;
    let Some(format) = section.choice("format", &SINK_FORMATS)?.or_else(|| SinkFormat::from_path(&path.value)) else {
        let error = section.error_at(&path.span, format!("cannot tell the format from the path: {}", path.value));
        return Err(error.with_help("add format = \"parquet\", \"csv\", \"json\", \"jsonl\" or \"arrow\""));
    };
    let mut spec = SinkSpec::new(last_name(&path.value), path.value, format);
    spec.compression = section.choice("compression", &SINK_COMPRESSIONS)?;
    spec.partition_by = section.strings("partition_by")?.into_iter().map(|column| column.value).collect();
    spec.shape = section.choice("shape", &SINK_SHAPES)?.unwrap_or_default();
    spec.mode = section.choice("mode", &SINK_MODES)?.unwrap_or_default();
    spec.target_file_size_bytes = size(section, "target_file_size")?.unwrap_or(spec.target_file_size_bytes);
    spec.validate().map_err(|error| section.invalid(error))?;
    Ok(Sink { from, spec, line: section.line() })
}

/// What people call the place a path names: `curated` for `s3://b/out/curated/`.
fn last_name(path: &str) -> String {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    if name.is_empty() { "output".to_owned() } else { name.to_owned() }
}

pub(super) fn retries(root: &Section<'_, '_>) -> Result<u32, JobFileError> {
    match root.count("retries")? {
        None => Ok(0),
        Some(Located { value, span }) => {
            u32::try_from(value).map_err(|_| root.error_at(&span, "`retries` is too large"))
        }
    }
}

pub(super) fn duration(root: &Section<'_, '_>, key: &'static str) -> Result<Option<Duration>, JobFileError> {
    let Some(text) = root.string(key)? else { return Ok(None) };
    match parse_duration(&text.value) {
        Some(time) if !time.is_zero() => Ok(Some(time)),
        _ => Err(root
            .error_at(&text.span, format!("`{key}` cannot be `{}`", text.value))
            .with_help("write a time such as 60s, 5m or 1h")),
    }
}

fn size(section: &Section<'_, '_>, key: &'static str) -> Result<Option<u64>, JobFileError> {
    let Some(text) = section.string(key)? else { return Ok(None) };
    match parse_size(&text.value) {
        Some(bytes) if bytes > 0 => Ok(Some(bytes)),
        _ => Err(section
            .error_at(&text.span, format!("`{key}` cannot be `{}`", text.value))
            .with_help("write a size such as 128MiB or 1GiB")),
    }
}

/// A table name that SQL can use without quotes.
fn identifier(section: &Section<'_, '_>, key: &'static str) -> Result<String, JobFileError> {
    let name = section.required(key)?;
    let starts = name.value.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if starts && name.value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        return Ok(name.value);
    }
    Err(section
        .error_at(&name.span, format!("`{}` cannot be the name of a table", name.value))
        .with_help("use small letters, digits and `_`, not starting with a digit"))
}

fn paths(section: &Section<'_, '_>) -> Result<Paths, JobFileError> {
    let paths: Vec<String> = section.strings("path")?.into_iter().map(|path| path.value).collect();
    if paths.iter().any(|path| path.trim().is_empty()) {
        return Err(section.error("`path` of [[source]] is empty"));
    }
    match <[String; 1]>::try_from(paths) {
        Ok([path]) => Ok(Paths::One(path)),
        Err(paths) if paths.is_empty() => Err(section.error("[[source]] has no `path`")),
        Err(paths) => Ok(Paths::Many(paths)),
    }
}

fn delimiter(section: &Section<'_, '_>) -> Result<Option<char>, JobFileError> {
    let Some(text) = section.string("delimiter")? else { return Ok(None) };
    let mut chars = text.value.chars();
    match (chars.next(), chars.next()) {
        (Some(delimiter), None) => Ok(Some(delimiter)),
        _ => Err(section
            .error_at(&text.span, format!("`delimiter` cannot be `{}`", text.value))
            .with_help("it is one character, such as \",\", \";\" or \"\\t\"")),
    }
}

fn work(section: &Section<'_, '_>) -> Result<StepWork, JobFileError> {
    match (section.string("sql")?, section.string("run")?) {
        (Some(sql), None) if !sql.value.trim().is_empty() => {
            run_step::refuse(section)?;
            let line = first_line(section, &sql.span);
            Ok(StepWork::Sql(SqlStep { text: sql.value, line }))
        }
        (None, Some(run)) if !run.value.trim().is_empty() => Ok(StepWork::Run(run_step::read(section, run.value)?)),
        (Some(both), Some(_)) => Err(section.error_at(&both.span, "a [[step]] has either `sql` or `run`, not both")),
        (None, None) => Err(section.error("[[step]] has neither `sql` nor `run`")),
        (Some(empty), None) | (None, Some(empty)) => Err(section.error_at(&empty.span, "this step's text is empty")),
    }
}

/// The line of a string's first character: TOML drops a newline right after opening quotes.
fn first_line(section: &Section<'_, '_>, span: &Range<usize>) -> usize {
    let text = section.text(span);
    let opened = text.strip_prefix("\"\"\"").or_else(|| text.strip_prefix("'''")).unwrap_or(text);
    let skipped = opened.starts_with('\n') || opened.starts_with("\r\n");
    section.line_at(span) + usize::from(skipped)
}
