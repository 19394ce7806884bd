//! A scan of text files as data: what is read, how, and which partition reads which bytes. Fixed when the job is planned
//! and carried to the workers as it is.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
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
    /// The places in the schema of the columns that folders give, ascending. All others are read from the files.
    pub(crate) folder_columns: Vec<u32>,
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
    /// What its folders say, for each of the plan's folder columns; none is null.
    pub(crate) folder_values: Vec<Option<String>>,
}

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The place among the columns that are read from files.
    File(usize),
    /// The place among the columns that folders give.
    Folder(usize),
}

/// A range of one file, cut by size alone. The records that are read for it begin after the first line end from its start on,
/// and end where those of the next piece begin: where that is, is found out when the query runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// The file's place in the list.
    pub(crate) file: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What each partition reads, in order.
pub(crate) type Partitions = Vec<Vec<Piece>>;

/// A range of one file, from record boundary to record boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The file's place in the list.
    pub(crate) file: u32,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The line of its first byte, where it is known.
    pub(crate) line: Option<u64>,
}

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
    /// Where the column at `column` comes from.
    pub(crate) fn origin(&self, column: usize) -> Origin {
        match self.folder_columns.binary_search(&(column as u32)) {
            Ok(place) => Origin::Folder(place),
            Err(before) => Origin::File(column - before),
        }
    }

    /// The columns that are read from the files.
    pub(crate) fn file_schema(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().enumerate();
        let fields = fields.filter(|(column, _)| matches!(self.origin(*column), Origin::File(_)));
        Arc::new(Schema::new(fields.map(|(_, field)| field.clone()).collect::<Vec<_>>()))
    }

    /// Whether `piece` is a part of its file.
    pub(crate) fn is_cut(&self, piece: &Piece) -> bool {
        piece.start > 0 || piece.end < self.files[piece.file as usize].entry.size
    }

    /// Whether records must be counted before a part of a file can be read: to know where one begins, if quotes may hide
    /// line ends, or on which line, if rejects tell it.
    pub(crate) fn needs_counts(&self) -> bool {
        self.format.quotes().is_some_and(|dialect| dialect.quote.is_some()) || self.on_bad_row == OnBadRow::Reject
    }

    /// Whether every place that it and `partitions` name is there.
    pub(crate) fn is_sound(&self, partitions: &Partitions) -> bool {
        let layouts: &[CsvLayout] = match &self.format {
            TextFormat::Csv { layouts, .. } => layouts,
            TextFormat::Json => &[],
        };
        let (columns, folder_columns) = (self.schema.fields().len(), &self.folder_columns);
        let fits = |layout: &CsvLayout| {
            layout.columns.len() + folder_columns.len() == columns
                && layout.columns.iter().all(|&field| field < layout.fields)
        };
        folder_columns.windows(2).all(|pair| pair[0] < pair[1])
            && folder_columns.last().is_none_or(|&last| (last as usize) < columns)
            && self.files.iter().all(|file| file.folder_values.len() == folder_columns.len())
            && layouts.iter().all(fits)
            && partitions.iter().flatten().all(|piece| {
                let file = self.files.get(piece.file as usize);
                file.is_some_and(|file| piece.start <= piece.end && piece.end <= file.entry.size)
            })
    }

    /// Estimate: rows in these many bytes of `file`.
    pub(crate) fn estimated_rows(&self, file: &ScanFile, bytes: u64) -> u64 {
        const TYPICAL_RATIO: u64 = 5;
        let expanded = if file.compression == Compression::None { bytes } else { bytes.saturating_mul(TYPICAL_RATIO) };
        expanded / u64::from(self.row_bytes.max(1))
    }
}
