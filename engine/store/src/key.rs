//! The name of one task output.

use std::fmt;

use tandem_proto::{Attempt, JobId, PartitionId, StageId};

/// Names the output that one attempt wrote for one partition of a stage plan. Ordered by job, then stage, so that what is
/// dropped together lies together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputKey {
    /// The job.
    pub job: JobId,
    /// The stage that wrote it.
    pub stage: StageId,
    /// The partition of that stage's plan.
    pub partition: PartitionId,
    /// The attempt that wrote it.
    pub attempt: Attempt,
}

impl fmt::Display for OutputKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, stage, partition, attempt } = self;
        write!(f, "{job} stage {stage} partition {partition} attempt {attempt}")
    }
}
