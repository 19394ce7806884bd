//! Sinks: files written aside by tasks and published together by the coordinator.
//!
//! ```text
//!  check_target ─► write_partition (tasks) ─► check_commit ─► publish ─► readers see all of the job's files
//!   before it runs     stages files               └─► or abort, and nothing is left
//! ```

mod append;
mod check;
mod encode;
mod error;
mod file_writer;
mod hive;
mod manifest;
mod publish;
mod rejects;
mod spec;
mod staging;
mod target;
mod write;

#[cfg(test)]
mod tests;

pub use self::append::check_append;
pub use self::check::{check_schema, check_separate, check_target, check_writable};
pub use self::encode::{ArrowFileWriter, csv_header, csv_rows, json_writer, parquet_can_hold, parquet_writer};
pub use self::error::SinkError;
pub(crate) use self::hive::NULL_FOLDER;
pub use self::manifest::{Manifest, ManifestFile};
pub use self::publish::{Published, SinkCommit, abort, check as check_commit, publish};
pub use self::rejects::{Reject, RejectWriter, rejects_sink};
pub use self::spec::{Compression, DEFAULT_TARGET_FILE_BYTES, JsonShape, SinkFormat, SinkMode, SinkSpec};
pub(crate) use self::staging::remove_staged_locally;
pub use self::write::write_partition;
