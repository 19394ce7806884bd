//! What a worker needs to run a stage, and what the sinks need to publish it.

use std::collections::{BTreeMap, HashMap};

use tandem_graph::{Stage, StageNeeds, StageRole};
use tandem_jobs::planned::PlannedJob;
use tandem_proto::resources::GPUS;
use tandem_proto::v1;

use tandem_scheduler::{StageInput, StagedFile};

/// One stage of `job`, which takes over `fused` others, with the locations of its inputs.
pub(crate) fn stage_definition(
    job: &PlannedJob,
    stage: &Stage,
    fused: u32,
    inputs: Vec<StageInput>,
) -> v1::StageDefinition {
    v1::StageDefinition {
        plan: stage.plan_at(fused).clone(),
        inputs: inputs.into_iter().map(stage_input).collect(),
        settings: job.settings.options.clone().into_iter().collect(),
        environment: variables(job),
        share_plan: stage.share_plan,
        job_name: job.name.clone(),
        driver: driver(job, stage),
        gpus_milli: stage.needs.as_ref().map(gpus_milli),
    }
}

/// What its tasks have of GPUs.
fn gpus_milli(needs: &StageNeeds) -> u64 {
    needs.milli.get(GPUS).copied().unwrap_or_default()
}

/// The main program, if that is the stage.
fn driver(job: &PlannedJob, stage: &Stage) -> Option<v1::Program> {
    let place = match stage.role {
        StageRole::Driver => v1::DriverPlace::Unspecified,
        StageRole::ClientDriver => v1::DriverPlace::Client,
        StageRole::Exchange | StageRole::Result | StageRole::Sink(_) => return None,
    };
    job.program.clone().map(|program| v1::Program { driver: place.into(), ..program.into() })
}

/// What executors of a job run. Jobs that name no package have the functions that are built in.
pub(crate) fn job_program(job: &PlannedJob, of_cluster: &BTreeMap<String, String>) -> v1::JobProgram {
    v1::JobProgram {
        program: Some(job.program.clone().unwrap_or_default().into()),
        environment: variables(job),
        secret_names: job.secrets.keys().cloned().collect(),
        job_name: job.name.clone(),
        cluster_environment: of_cluster.clone().into_iter().collect(),
    }
}

fn variables(job: &PlannedJob) -> HashMap<String, String> {
    job.environment.iter().chain(&job.secrets).map(|(k, v)| (k.clone(), v.clone())).collect()
}

fn stage_input(input: StageInput) -> v1::StageInput {
    let workers = input.workers.into_iter();
    v1::StageInput {
        stage: input.stage.0,
        workers: workers.map(|(worker, data_address)| v1::WorkerAddress { worker: worker.0, data_address }).collect(),
        worker_of: input.worker_of,
        attempt_of: input.attempt_of,
    }
}

/// A staged file as the sinks know it.
pub(crate) fn staged_file(file: StagedFile) -> v1::StagedFile {
    let StagedFile { sink, staged_path, final_path, rows, bytes, multipart_id, parts } = file;
    v1::StagedFile { sink, staged_path, final_path, rows, bytes, multipart_id, parts }
}
