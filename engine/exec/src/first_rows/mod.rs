//! The first rows of each group: what `row_number()` and a condition on it ask for, without numbering all other rows.
//!
//! ```text
//!   planned                                        run
//!   Filter: place = 1                              First rows: 1 of each event_id
//!   └─ Window: row_number() … AS place             └─ Sort: event_id, time
//!      └─ Sort: event_id, time
//! ```
//! DataFusion keeps state for each group of a window, which takes far longer than to read the rows when groups are small.

mod exec;
mod rule;

pub(crate) use self::exec::FirstRowsExec;
pub(crate) use self::rule::KeepFirstRows;
