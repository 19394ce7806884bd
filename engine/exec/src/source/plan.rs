//! A scan of text files as data: what is read, how, and which partition reads which bytes. Fixed when the job is planned
//! and carried to the workers as it is.

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::csv::{CsvLayout, Dialect};
use super::spec::{Compression, OnBadRow};
use crate::storage::FileEntry;

/// All about a scan but what one query asks of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScanPlan {
    /// The source's name.
    pub(crate) source: String,
    /// The table's columns.
    #[serde(with = "super::wire_schema")]
    pub(crate) schema: SchemaRef,
    /// How bytes become rows.
    pub(crate) format: TextFormat,
    /// The fixed input list.
    pub(crate) files: Vec<ScanFile>,
    /// What becomes of bad rows.
    pub(crate) on_bad_row: OnBadRow,
    /// The folder of rejects.
    pub(crate) rejects: Option<String>,
    /// Estimate, from a sample: uncompressed bytes of a row.
    pub(crate) row_bytes: u32,
}

/// How bytes become rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TextFormat {
    /// CSV records.
    Csv {
        dialect: Dialect,
        /// The first record of each file names the columns.
        header: bool,
        /// The orders of columns that files have.
        layouts: Vec<CsvLayout>,
    },
    /// JSON objects.
    Json,
}

/// One file of a scan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ScanFile {
    pub(crate) entry: FileEntry,
    pub(crate) compression: Compression,
    /// CSV: its place in the layouts.
    pub(crate) layout: u32,
    /// JSON: it is one array, not a line per object.
    pub(crate) is_array: bool,
}

/// A range of one file, from record boundary to record boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The file's place in the list.
    pub(crate) file: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The line of its first byte.
    pub(crate) line: u64,
}

/// What each partition reads, in order.
pub(crate) type Partitions = Vec<Vec<Segment>>;

impl ScanFile {
    /// Whether several partitions may read it.
    pub(crate) fn can_be_split(&self) -> bool {
        self.compression == Compression::None && !self.is_array
    }
}

impl TextFormat {
    /// Its name for people.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Csv { .. } => "csv",
            Self::Json => "json",
        }
    }

    /// What may hide line ends inside of a record.
    pub(crate) fn quotes(&self) -> Option<Dialect> {
        match self {
            Self::Csv { dialect, .. } => Some(*dialect),
            Self::Json => None,
        }
    }
}

impl ScanPlan {
    /// Whether every place that it and `partitions` name is there.
    pub(crate) fn is_sound(&self, partitions: &Partitions) -> bool {
        let layouts: &[CsvLayout] = match &self.format {
            TextFormat::Csv { layouts, .. } => layouts,
            TextFormat::Json => &[],
        };
        let columns = self.schema.fields().len();
        let fits = |layout: &CsvLayout| {
            layout.columns.len() == columns && layout.columns.iter().all(|&field| field < layout.fields)
        };
        layouts.iter().all(fits)
            && partitions.iter().flatten().all(|segment| (segment.file as usize) < self.files.len())
    }

    /// Estimate: rows in these many bytes of `file`.
    pub(crate) fn estimated_rows(&self, file: &ScanFile, bytes: u64) -> u64 {
        const TYPICAL_RATIO: u64 = 5;
        let expanded = if file.compression == Compression::None { bytes } else { bytes.saturating_mul(TYPICAL_RATIO) };
        expanded / u64::from(self.row_bytes.max(1))
    }
}
