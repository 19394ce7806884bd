//! Plans a job: SQL, job files and programs in, a graph of stages out. Nothing runs here, but everything that can be wrong before
//! a job runs is found here: SQL, tables, columns, files that are missing or denied.
//!
//! ```text
//!   Query    ─► statement ─► logical plan ─────────────► physical plan ─► stages, one of them the result
//!   JobFile  ─► sources ─► steps (inlined, or a stage of their own when read twice) ─► one sink stage per sink
//!   Program  ─► one stage of one task
//! ```

mod flow;
mod function_step;
mod job;
mod program;
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
    /// Task slots of all workers.
    pub slots: u32,
}

/// What a partition reads at least, before there are more of them than slots: starting a task costs little beside it.
const PARTITION_BYTES: u64 = 64 << 20;
/// Partitions for each slot, at most: what a task puts out has a part for each partition of the stage that reads it.
const PARTITIONS_PER_SLOT: u64 = 16;
/// There are no more partitions than this, unless there are more slots.
const PARTITIONS: u64 = 4_096;

impl ClusterShape {
    /// How many partitions a plan aims at whose largest source has so many bytes. The same number for each slot: so that all are busy
    /// to the end, workers that join get their share, and one that is lost takes little with it.
    fn partitions(&self, bytes: u64) -> usize {
        let slots = u64::from(self.slots.max(1));
        let most = PARTITIONS_PER_SLOT.min(PARTITIONS / slots).max(1);
        (slots * (bytes / PARTITION_BYTES / slots).clamp(1, most)) as usize
    }
}

/// Plans `spec` for `cluster`.
///
/// # Errors
/// What is wrong with the job, and where; see [`PlanError`].
pub async fn plan(spec: &JobSpec, cluster: &ClusterShape) -> Result<PlannedJob, PlanError> {
    match &spec.work {
        Some(Work::Query(query)) => query::plan(spec, query, cluster).await,
        Some(Work::File(file)) => job::plan(spec, file, cluster).await,
        Some(Work::Program(program)) => program::plan(spec, program),
        None => Err(PlanError::invalid("the job has neither SQL nor a job file nor a program")),
    }
}

#[cfg(test)]
mod tests;
