//! CSV: cutting bytes into records, records into typed batches, and big files into ranges.

mod decoder;
mod dialect;
mod header;
mod index;
mod marks;
mod records;

pub(crate) use self::decoder::{CsvDecoder, CsvLayout, CsvStart};
pub(crate) use self::dialect::Dialect;
pub(crate) use self::header::{CsvHead, HeadError, column_names, layout_of, misspelt, nearest, read_csv_head};
pub(crate) use self::index::{RangeFacts, RangeScan, cut_after, record_ranges};
