//! What a worker must be told of a stage, put together from what planner and state machine know.

use std::sync::Arc;

use tandem_graph::Stage;
use tandem_jobs::planned::PlannedJob;
use tandem_proto::{JobId, StageId, v1};
use tandem_scheduler::{Cluster, InputsError, StageInput};

use super::job_table::JobTable;
use crate::wire;

/// A plan of more bytes, or inputs of more outputs, are sent to those who ask only.
const SMALL_PLAN_BYTES: usize = 64 << 10;
const SMALL_INPUT_OUTPUTS: usize = 1024;

/// See the module's header.
pub(super) struct StageParts {
    planned: Arc<PlannedJob>,
    /// The stage's place in the graph.
    place: usize,
    /// How many stages it takes over.
    fused: u32,
    inputs: Vec<StageInput>,
}

impl StageParts {
    /// Of one version of the stage's inputs.
    ///
    /// # Errors
    /// The job or the stage is not there, or the inputs have moved since.
    pub(super) fn find(
        cluster: &Cluster,
        jobs: &JobTable,
        job: JobId,
        stage: StageId,
        inputs_version: u32,
    ) -> Result<Self, InputsError> {
        let inputs = cluster.stage_inputs(job, stage, inputs_version)?;
        let planned = jobs.get(job).and_then(|entry| entry.planned.clone()).ok_or(InputsError::NoSuchJob(job))?;
        let place = (stage.0 as usize).wrapping_sub(1);
        if place >= planned.graph.stages.len() {
            return Err(InputsError::NoSuchStage(job, stage));
        }
        Ok(Self { planned, place, fused: cluster.fused(job, stage), inputs })
    }

    fn stage(&self) -> &Stage {
        &self.planned.graph.stages[self.place]
    }

    /// Whether it may go on a stream that others wait for.
    pub(super) fn is_small(&self) -> bool {
        let outputs: usize = self.inputs.iter().map(|input| input.worker_of.len()).sum();
        self.stage().plan_at(self.fused).len() <= SMALL_PLAN_BYTES && outputs <= SMALL_INPUT_OUTPUTS
    }

    pub(super) fn into_definition(self) -> v1::StageDefinition {
        let stage = &self.planned.graph.stages[self.place];
        wire::stage_definition(&self.planned, stage, self.fused, self.inputs)
    }
}
