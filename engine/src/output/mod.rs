//! What commands print: data to standard output in the form the user chose, everything else to standard error.

#![warn(clippy::print_stdout, clippy::print_stderr, reason = "they panic when nobody reads")]

mod format;
mod grid;
mod group_view;
mod object;
mod progress;
mod records;
mod rows;
mod state_views;
mod summary;
mod tell;
mod time;
pub(crate) mod units;
mod upload;
mod views;
mod work_done;

pub(crate) use format::OutputFormat;
pub(crate) use group_view::GroupView;
pub(crate) use object::print_object;
pub(crate) use progress::Progress;
pub(crate) use records::{Record, print_list, print_one};
pub(crate) use rows::{RowFormat, RowWriter, row_writer};
pub(crate) use state_views::{ActorView, CountedView, FineTaskView, FunctionView, ObjectView};
pub(crate) use summary::print_summary;
pub(crate) use tell::{tell, tell_line, tell_with};
pub(crate) use time::{between, since_epoch_ms};
pub(crate) use upload::UploadProgress;
pub(crate) use views::{ClusterView, JobView, NodeView, StageView, TaskView};
pub(crate) use work_done::{WorkDone, print_work_done, work_done};
