//! Counting the rows of a step and holding them against its checks, as they pass.
//!
//! ```text
//!  step's plan ─► probe ─► whatever reads the step
//!                   ├─ counts rows under the step's name
//!                   ├─ fails the job at the first row that breaks a check
//!                   └─ counts rows that break a condition which only warns
//! ```
//!
//! A probe sees every row of the step: no filter and no limit of a reader is pushed through it. Columns that nobody reads
//! and no check names are not computed.

mod check;
mod exec;
mod node;

pub use self::check::{CheckKind, OnBreach, RowCheck, check_label, parse_check, warning_name};
pub use self::exec::{Check, ProbeExec};
pub use self::node::{ProbeNode, ProbePlanner, probe, query_planner};

#[cfg(test)]
mod tests;
