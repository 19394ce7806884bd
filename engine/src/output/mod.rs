//! What commands print: data to standard output in the form the user chose, everything else to standard error.

mod format;
mod grid;
mod progress;
mod records;
mod rows;
mod summary;
mod time;
pub(crate) mod units;
mod views;

pub(crate) use format::OutputFormat;
pub(crate) use progress::Progress;
pub(crate) use records::{Record, print_list, print_one};
pub(crate) use rows::{RowFormat, RowWriter, row_writer};
pub(crate) use summary::print_summary;
pub(crate) use time::since_epoch_ms;
pub(crate) use views::{ClusterView, JobView, NodeView, StageView, TaskView};
