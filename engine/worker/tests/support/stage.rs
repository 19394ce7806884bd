//! Small queries as stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_exec::cutter::GraphBuilder;
use tandem_exec::session::QuerySettings;
use tandem_graph::StageGraph;
use tandem_proto::WorkerId;
use tandem_proto::v1::{StageDefinition, StageInput, TaskAttempt, WorkerAddress};

/// The stages of `sql` over `partitions` partitions.
pub(crate) async fn stages(sql: &str, partitions: usize) -> (StageGraph, QuerySettings) {
    let settings = QuerySettings::new(partitions, &BTreeMap::new());
    let context = settings.planning_context(Arc::default()).unwrap();
    let plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
    let mut builder = GraphBuilder::default();
    builder.add_result(plan).unwrap();
    (builder.finish(), settings)
}

/// What a coordinator would send of stage `id`, whose inputs are where `inputs` says.
pub(crate) fn definition(
    (graph, settings): &(StageGraph, QuerySettings),
    id: u32,
    inputs: Vec<StageInput>,
) -> StageDefinition {
    let stage = &graph.stages[id as usize - 1];
    StageDefinition {
        plan: stage.plan.clone(),
        inputs,
        settings: settings.options.clone().into_iter().collect(),
        share_plan: stage.share_plan,
        job_name: "test".to_owned(),
        ..StageDefinition::default()
    }
}

/// A one-stage query, ready to be defined.
pub(crate) async fn single(sql: &str) -> StageDefinition {
    let stages = stages(sql, 1).await;
    assert_eq!(stages.0.stages.len(), 1, "{:?}", stages.0);
    definition(&stages, 1, Vec::new())
}

/// All output of `stage` is on one worker, from first attempts.
pub(crate) fn all_on(stage: u32, partitions: u32, worker: WorkerId, data_address: String) -> StageInput {
    StageInput {
        stage,
        workers: vec![WorkerAddress { worker: worker.0, data_address }],
        worker_of: vec![0; partitions as usize],
        attempt_of: vec![0; partitions as usize],
    }
}

/// The first attempt of a task.
pub(crate) fn attempt(job: u64, stage: u32, task: u32) -> TaskAttempt {
    TaskAttempt { job, stage, task, attempt: 0 }
}
