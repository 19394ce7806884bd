//! Sources: CSV, JSON, Parquet and Arrow files as tables.

mod columns;
mod csv;
mod schema;
mod spec;
mod values;

pub use self::schema::parse_schema;
pub use self::spec::{Compression, OnBadRow, Paths, SourceFormat, SourceSpec};
