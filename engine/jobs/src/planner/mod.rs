//! Plans a job: SQL and job files in, a graph of stages out. Nothing runs here, but everything that can be wrong before
//! a job runs is found here: SQL, tables, columns, files that are missing or denied.
//!
//! ```text
//!   Query    ─► statement ─► logical plan ─────────────► physical plan ─► stages, one of them the result
//!   JobFile  ─► sources ─► steps (inlined, or a stage of their own when read twice) ─► one sink stage per sink
//! ```

mod flow;
mod job;
mod query;
mod session;
mod sql_text;
mod statement;
mod step;
mod tables;

use tandem_exec::error::PlanError;
use tandem_proto::v1::{JobSpec, job_spec::Work};

use crate::planned::PlannedJob;

/// What the planner knows of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterShape {
    /// Task slots of all workers; how many partitions a plan aims at.
    pub slots: u32,
}

/// Plans `spec` for `cluster`.
///
/// # Errors
/// What is wrong with the job, and where; see [`PlanError`].
pub async fn plan(spec: &JobSpec, cluster: &ClusterShape) -> Result<PlannedJob, PlanError> {
    match &spec.work {
        Some(Work::Query(query)) => query::plan(spec, query, cluster).await,
        Some(Work::File(file)) => job::plan(spec, file, cluster).await,
        None => Err(PlanError::invalid("the job has neither SQL nor a job file")),
    }
}

#[cfg(test)]
mod tests;
