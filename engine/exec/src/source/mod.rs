//! Sources: CSV, JSON, Parquet and Arrow files as tables.

mod alike;
mod columns;
mod count;
mod csv;
mod cut;
mod files;
mod folders;
pub(crate) mod fuzz;
mod infer;
mod input;
mod json;
mod nested;
mod open;
mod plan;
mod reader;
mod rows;
mod scan;
mod schema;
mod spec;
mod split;
mod table;
mod values;
mod wire_schema;

pub(crate) use self::count::CountRecordsExec;
pub use self::files::pin_file_scans;
pub(crate) use self::files::scan_of_batches;
pub use self::open::{OpenedSource, open_source};
pub(crate) use self::scan::ScanExec;
pub use self::schema::parse_schema;
pub(crate) use self::spec::by_extension;
pub use self::spec::{Compression, OnBadRow, Paths, SourceFormat, SourceSpec};

#[cfg(test)]
mod tests;
