//! What the outside sees of jobs, tasks and workers, as messages.

use bytes::Bytes;
use tandem_graph::StageNeeds;
use tandem_proto::StageId;
use tandem_proto::v1;
use tandem_scheduler::{
    ClusterView, CountKind, JobFailure, JobOutcome, JobState, JobView, NodeState, NodeView, OperatorMetrics,
    PendingReason, RowCount, StageView, TaskState, TaskView, Timestamp,
};

use super::commands::wire_attempt;
use super::leases::wire_resources;

/// What a job's status says that never changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobFace {
    /// Arrow IPC schema of a query's rows.
    pub(crate) result_schema: Bytes,
    /// Whose output they are.
    pub(crate) result_stage: Option<StageId>,
    /// The plans of each stage, for people, by how many others it takes over; empty when they are not kept any more.
    pub(crate) plans: Vec<Vec<String>>,
}

/// A job's status; with plans only where they are asked for.
pub(crate) fn job_status(view: &JobView, face: &JobFace, with_plans: bool) -> v1::JobStatus {
    let stages = view.stages.iter().map(|stage| {
        let mut status = stage_status(view, stage);
        if with_plans {
            let plans = face.plans.get(stage.stage.0 as usize - 1);
            status.plan = plans.and_then(|plans| plans.get(stage.fused as usize)).cloned().unwrap_or_default();
        }
        status
    });
    v1::JobStatus {
        job: view.job.0,
        name: view.plan.name.clone(),
        state: job_state(view.state).into(),
        pending_reason: code(view.pending_reason.as_ref()),
        pending_text: text(view.pending_reason.as_ref()),
        failure: view.outcome.as_ref().and_then(job_failure),
        submitted_ms: wire_ms(Some(view.accepted)),
        started_ms: wire_ms(view.started),
        ended_ms: wire_ms(view.ended),
        stages: stages.collect(),
        result_schema: face.result_schema.to_vec(),
        result_stage: face.result_stage.map_or(0, |stage| stage.0),
        results: view.results.iter().map(result_partition).collect(),
        counts: view.counts.iter().map(row_count).collect(),
        retries_used: view.retries_used,
        driver_address: view.driver_address.clone(),
    }
}

fn code(reason: Option<&PendingReason>) -> String {
    reason.map(PendingReason::code).unwrap_or_default()
}

fn text(reason: Option<&PendingReason>) -> String {
    reason.map(ToString::to_string).unwrap_or_default()
}

fn needs(needs: Option<&StageNeeds>) -> String {
    needs.map(ToString::to_string).unwrap_or_default()
}

fn job_state(state: JobState) -> v1::JobState {
    match state {
        JobState::Pending => v1::JobState::Pending,
        JobState::Running => v1::JobState::Running,
        JobState::Succeeded => v1::JobState::Succeeded,
        JobState::Failed => v1::JobState::Failed,
        JobState::Stopped => v1::JobState::Stopped,
    }
}

fn job_failure(outcome: &JobOutcome) -> Option<v1::JobFailure> {
    match outcome {
        JobOutcome::Succeeded => None,
        JobOutcome::Failed(JobFailure { stage, task, worker, cause, help, .. }) => Some(v1::JobFailure {
            stage: stage.clone(),
            task: task.clone(),
            worker: worker.clone(),
            cause: cause.clone(),
            help: help.clone(),
        }),
        JobOutcome::Stopped(reason) => Some(v1::JobFailure { cause: reason.clone(), ..Default::default() }),
    }
}

fn stage_status(job: &JobView, stage: &StageView) -> v1::StageStatus {
    let plan = job.plan.stage(stage.stage);
    v1::StageStatus {
        stage: stage.stage.0,
        name: plan.map(|plan| plan.name.clone()).unwrap_or_default(),
        inputs: plan.map(|plan| plan.inputs.iter().map(|input| input.0).collect()).unwrap_or_default(),
        tasks: stage.tasks,
        pending: stage.pending,
        running: stage.running,
        finished: stage.finished,
        failed_attempts: stage.failed_attempts,
        rows: stage.rows,
        bytes: stage.bytes,
        started_ms: wire_ms(stage.started),
        ended_ms: wire_ms(stage.ended),
        pending_reason: code(stage.pending_reason.as_ref()),
        pending_text: text(stage.pending_reason.as_ref()),
        plan: String::new(),
        operators: stage.operators.iter().map(operator_metrics).collect(),
        taken_over_by: stage.taken_over_by.map_or(0, |stage| stage.0),
        driver: plan.is_some_and(|plan| plan.role.is_driver()),
        needs: needs(plan.and_then(|plan| plan.needs.as_ref())),
    }
}

/// The stages of a job that was only planned.
pub(crate) fn explained(graph: &tandem_graph::StageGraph) -> Vec<v1::StageStatus> {
    let stages = graph.stages.iter().map(|stage| v1::StageStatus {
        stage: stage.id.0,
        name: stage.name.clone(),
        inputs: stage.inputs.iter().map(|input| input.0).collect(),
        tasks: if stage.share_plan { 1 } else { stage.partitions },
        plan: stage.display.clone(),
        driver: stage.role.is_driver(),
        needs: needs(stage.needs.as_ref()),
        ..Default::default()
    });
    stages.collect()
}

fn operator_metrics(metrics: &OperatorMetrics) -> v1::OperatorMetrics {
    let OperatorMetrics { node, name, output_rows, elapsed_ns, spilled_bytes } = metrics.clone();
    v1::OperatorMetrics { node, name, output_rows, elapsed_ns, spilled_bytes }
}

fn row_count(count: &RowCount) -> v1::RowCount {
    let kind = match count.kind {
        CountKind::Read => v1::RowCountKind::Read,
        CountKind::Rejected => v1::RowCountKind::Rejected,
        CountKind::Step => v1::RowCountKind::Step,
        CountKind::Written => v1::RowCountKind::Written,
        CountKind::Warned => v1::RowCountKind::Warned,
        CountKind::Worked => v1::RowCountKind::Worked,
        CountKind::Timed => v1::RowCountKind::Timed,
    };
    v1::RowCount { name: count.name.clone(), kind: kind.into(), rows: count.rows, bytes: count.bytes }
}

fn result_partition(result: &tandem_scheduler::ResultPartition) -> v1::ResultPartition {
    v1::ResultPartition {
        partition: result.partition.0,
        attempt: result.attempt.0,
        worker: result.worker.0,
        data_address: result.data_address.clone(),
    }
}

/// One task of `job`.
pub(crate) fn task_status(job: &JobView, task: &TaskView) -> v1::TaskStatus {
    let state = match task.state {
        TaskState::Pending => v1::TaskState::Pending,
        TaskState::Running => v1::TaskState::Running,
        TaskState::Succeeded => v1::TaskState::Succeeded,
        TaskState::Failed => v1::TaskState::Failed,
        TaskState::Cancelled => v1::TaskState::Cancelled,
        TaskState::Lost => v1::TaskState::Lost,
    };
    v1::TaskStatus {
        attempt: Some(wire_attempt(task.attempt)),
        state: state.into(),
        worker: task.worker.clone(),
        stage_name: job.plan.stage(task.attempt.task.stage).map(|stage| stage.name.clone()).unwrap_or_default(),
        message: task.message.clone(),
        started_ms: wire_ms(task.started),
        ended_ms: wire_ms(task.ended),
        rows: task.rows,
        bytes: task.bytes,
        pending_reason: code(task.pending_reason.as_ref()),
        pending_text: text(task.pending_reason.as_ref()),
    }
}

/// One worker.
pub(crate) fn node_status(node: &NodeView) -> v1::NodeStatus {
    let state = match node.state {
        NodeState::Ready => v1::NodeState::Ready,
        NodeState::Draining => v1::NodeState::Draining,
        NodeState::Suspect => v1::NodeState::Suspect,
        NodeState::Lost => v1::NodeState::Lost,
    };
    v1::NodeStatus {
        worker: node.worker.0,
        name: node.info.name.clone(),
        state: state.into(),
        slots: node.info.slots,
        slots_used: node.slots_used,
        memory_bytes: node.info.memory_bytes,
        rss_bytes: node.usage.rss_bytes,
        stored_bytes: node.usage.stored_bytes,
        data_address: node.info.data_address.clone(),
        http_address: node.info.http_address.clone(),
        pid: node.info.pid,
        labels: node.info.labels.clone().into_iter().collect(),
        joined_ms: wire_ms(Some(node.joined)),
        version: node.info.version.clone(),
        spilled_bytes: node.usage.spilled_bytes,
        resources: Some(wire_resources(&node.info.resources)),
        used: Some(wire_resources(&node.used)),
        leases: node.leases,
    }
}

/// The sums of a cluster; who it is, the caller fills in.
pub(crate) fn cluster_status(view: &ClusterView) -> v1::ClusterStatus {
    v1::ClusterStatus {
        nodes_ready: view.nodes_ready,
        slots: view.slots,
        slots_used: view.slots_used,
        jobs_running: view.jobs_running,
        ..Default::default()
    }
}

/// Milliseconds since the Unix epoch; 0 for what has not come yet.
fn wire_ms(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |time| i64::try_from(time.0).unwrap_or(i64::MAX))
}
