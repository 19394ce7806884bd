//! Data to try, test and measure with: `sales`, `events`, `articles`, `tpch`. The same spec gives the same bytes, wherever and with
//! however many threads it is generated.
//!
//! ```text
//!   table ─► pieces of rows ─► rendered on all cores, a few at a time ─► put together in order ─► file or object
//! ```
//! Memory is bounded by the pieces in flight; a file appears only when it is complete.

mod article_words;
mod articles;
mod events;
mod output;
mod parquet_file;
mod rng;
mod sales;
mod table;
mod text;
mod tpch;

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use tandem_exec::error::PlanError;
use tandem_exec::storage::Storage;

use articles::Articles;
use events::{Events, Products};
use sales::Sales;
use table::Table;

/// What to generate, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateSpec {
    /// Which tables.
    pub dataset: Dataset,
    /// How much.
    pub size: Size,
    /// Other seeds give other rows. TPC-H data do not depend on it.
    pub seed: u64,
    /// A folder, local or `s3://`; for one that is not `tpch` also the table's file, told by its extension.
    pub out: String,
    /// What the files hold; none: by the extension of `out`, else CSV, and Parquet for TPC-H.
    pub format: Option<Format>,
    /// Fraction of `events` rows with a flaw.
    pub dirty: f64,
}

/// A family of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// Product, region, quantity, price.
    Sales,
    /// Nine fixed sales, over and over.
    SalesDemo,
    /// Shop events, and the products they refer to.
    Events,
    /// News articles, and what they are about.
    Articles,
    /// The eight tables of TPC-H.
    Tpch,
}

/// How much data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Size {
    /// Rows of the main table.
    Rows(u64),
    /// About so many bytes of text in the main table, or as many rows in another format.
    Bytes(u64),
    /// The TPC-H scale factor.
    Scale(f64),
}

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

/// Endings of files of data that are not made.
const OTHER_ENDINGS: [&str; 8] = ["arrow", "feather", "gz", "json", "ndjson", "tsv", "txt", "zst"];

impl Format {
    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The format that a path's extension names.
    pub fn from_path(path: &str) -> Option<Self> {
        let extension = extension_of(path)?;
        [Self::Csv, Self::Jsonl, Self::Parquet].into_iter().find(|format| format.extension() == extension)
    }
}

fn extension_of(path: &str) -> Option<&str> {
    Some(path.rsplit('/').next()?.rsplit_once('.')?.1)
}

/// A file that was generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it is.
    pub path: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// How far generating is, over all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows so far.
    pub rows: u64,
    /// Rows in all, about.
    pub rows_total: u64,
    /// Bytes so far.
    pub bytes: u64,
}

/// Why data could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The spec contradicts itself.
    #[error("{0}")]
    Spec(String),
    /// No TPC-H data of this scale.
    #[error("there is no TPC-H data at scale {0}")]
    Scale(f64),
    /// The place to write to is not usable.
    #[error(transparent)]
    Place(#[from] PlanError),
    /// Writing failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// What storage said.
        source: object_store::Error,
    },
    /// Rows could not be encoded.
    #[error("rows could not be encoded: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Rows could not be encoded as Parquet.
    #[error("rows could not be encoded as Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A thread that rendered rows died.
    #[error("a thread that renders rows died: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// It was told to stop.
    #[error("interrupted")]
    Stopped,
}

/// Generates what `spec` says, until `stop`. Relative paths start from `base_dir`; `threads` pieces are rendered at once.
///
/// # Errors
/// See [`GenerateError`]; files that were complete before the error stay, and nothing of others.
pub async fn generate(
    spec: &GenerateSpec,
    storage: &Storage,
    base_dir: &Path,
    threads: usize,
    mut progress: impl FnMut(Progress),
    stop: impl Future<Output = ()>,
) -> Result<Vec<GeneratedFile>, GenerateError> {
    let by_extension = Format::from_path(&spec.out);
    if let Some(other) = extension_of(&spec.out).filter(|extension| OTHER_ENDINGS.contains(extension)) {
        let known = "name a .csv, .jsonl or .parquet file, or end it in / for a folder";
        return Err(GenerateError::Spec(format!("no .{other} files are made: {}: {known}", spec.out)));
    }
    let habit = if spec.dataset == Dataset::Tpch { Format::Parquet } else { Format::Csv };
    let format = spec.format.or(by_extension).unwrap_or(habit);
    let tables = tables(spec, format)?;
    let single = by_extension.filter(|_| spec.dataset != Dataset::Tpch);
    if single.is_some_and(|named| named != format) {
        return Err(GenerateError::Spec(format!("{} does not end in .{}", spec.out, format.extension())));
    }
    let (folder, _) = spec.out.rsplit_once('/').unwrap_or((".", ""));
    let mut stop = pin!(stop);
    let mut files = Vec::with_capacity(tables.len());
    let mut done = Progress { rows: 0, rows_total: tables.iter().map(|table| table.rows()).sum(), bytes: 0 };
    for (index, table) in tables.into_iter().enumerate() {
        let file = format!("{}.{}", table.name(), format.extension());
        let path = match single {
            Some(_) if index == 0 => spec.out.clone(),
            Some(_) => format!("{folder}/{file}"),
            None => format!("{}/{file}", spec.out.trim_end_matches('/')),
        };
        let place = storage.resolve(&path, base_dir)?;
        if place.is_pattern() {
            return Err(GenerateError::Spec(format!("{path} is a pattern, not one place to write to")));
        }
        let before = done;
        let told = |rows, bytes| {
            done = Progress { rows: before.rows + rows, bytes: before.bytes + bytes, ..before };
            progress(done);
        };
        files.push(output::write(table, format, storage, &place, threads, told, stop.as_mut()).await?);
    }
    Ok(files)
}

fn tables(spec: &GenerateSpec, format: Format) -> Result<Vec<Arc<dyn Table>>, GenerateError> {
    if !(0.0..=1.0).contains(&spec.dirty) {
        return Err(GenerateError::Spec(format!("dirty is a fraction from 0 to 1, not {}", spec.dirty)));
    }
    if spec.dirty > 0.0 && spec.dataset != Dataset::Events {
        return Err(GenerateError::Spec("only events can be dirty".to_owned()));
    }
    let seed = spec.seed;
    match (spec.dataset, spec.size) {
        (Dataset::Tpch, Size::Scale(scale)) if scale > 0.0 && scale <= 1e5 => {
            Ok(tpch::tables(scale)?.into_iter().map(|table| Arc::new(table) as Arc<dyn Table>).collect())
        }
        (Dataset::Tpch, Size::Scale(scale)) => Err(GenerateError::Scale(scale)),
        (Dataset::Tpch, _) => Err(GenerateError::Spec("tpch needs a scale factor".to_owned())),
        (_, Size::Scale(_)) => Err(GenerateError::Spec("only tpch has a scale factor".to_owned())),
        (Dataset::Sales | Dataset::SalesDemo, size) => {
            let sales = |rows| Sales { seed, rows, demo: spec.dataset == Dataset::SalesDemo };
            let rows = row_count(size, format, &sales)?;
            Ok(vec![Arc::new(sales(rows))])
        }
        (Dataset::Events, size) => {
            let events = |rows| Events { seed, rows, dirty: spec.dirty };
            let rows = row_count(size, format, &events)?;
            Ok(vec![Arc::new(events(rows)), Arc::new(Products { seed })])
        }
        (Dataset::Articles, size) => {
            let articles = |rows| Articles { seed, rows };
            let rows = row_count(size, format, &articles)?;
            Ok(vec![Arc::new(articles(rows))])
        }
    }
}

/// How many rows a size means, judged by the first rows as text.
fn row_count<T: Table>(size: Size, format: Format, table: &dyn Fn(u64) -> T) -> Result<u64, GenerateError> {
    const SAMPLE_ROWS: u64 = 10_000;
    match size {
        Size::Rows(rows) => Ok(rows),
        Size::Bytes(bytes) => {
            let text = if format == Format::Jsonl { Format::Jsonl } else { Format::Csv };
            let mut sample = Vec::new();
            // Of a table in small pieces, the first may have fewer.
            let rows = table(SAMPLE_ROWS).text(0, text, &mut sample)?;
            Ok((bytes as f64 / (sample.len() as f64 / rows as f64)).ceil() as u64)
        }
        Size::Scale(_) => Err(GenerateError::Spec("only tpch has a scale factor".to_owned())),
    }
}

#[cfg(test)]
mod tests;
