//! What workers say, as events of the state machine. What makes no sense is refused with its reason.

use tandem_proto::v1::{self, task_report, worker_message::Message};
use tandem_proto::{Epoch, JobId, LeaseId, PartitionId, StageId, WorkerId};
use tandem_scheduler::{
    AttemptId, CountKind, Event, FailureKind, HeldOutput, OperatorMetrics, Progress, Registration, RowCount,
    StagedFile, TaskFailure, TaskMetrics, TaskOutcome, TaskOutput, WorkerInfo, WorkerUsage,
};

use super::{groups, leases};

/// A message that a worker of this version never sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(crate) struct Malformed(pub(super) &'static str);

/// How a worker introduces itself.
pub(crate) fn registration(message: v1::Register) -> Result<Registration, Malformed> {
    Ok(Registration {
        worker: WorkerId(message.worker),
        info: WorkerInfo {
            name: message.name,
            version: message.version,
            pid: message.pid,
            data_address: message.data_address,
            http_address: message.http_address,
            slots: message.slots,
            memory_bytes: message.memory_bytes,
            labels: message.labels.into_iter().collect(),
            resources: leases::resources(message.resources.unwrap_or_default()),
        },
        running: message.running.into_iter().map(attempt_id).collect(),
        held: message.held.into_iter().map(held_output).collect::<Result<_, _>>()?,
        jobs: message.jobs.into_iter().map(JobId).collect(),
        leases: message.leases.into_iter().map(leases::grant).collect::<Result<_, _>>()?,
        groups: message.groups.into_iter().map(groups::report).collect::<Result<_, _>>()?,
    })
}

/// What a registered worker says.
pub(crate) fn worker_event(worker: WorkerId, message: v1::WorkerMessage) -> Result<Event, Malformed> {
    let epoch = Epoch(message.epoch);
    match message.message.ok_or(Malformed("it is empty"))? {
        Message::Register(_) => Err(Malformed("a second registration on one stream")),
        Message::Heartbeat(heartbeat) => Ok(Event::Heartbeat {
            worker,
            epoch,
            usage: WorkerUsage {
                rss_bytes: heartbeat.rss_bytes,
                pool_used_bytes: heartbeat.pool_used_bytes,
                stored_bytes: heartbeat.stored_bytes,
                spilled_bytes: heartbeat.spilled_bytes,
            },
            leases: leases::lease_report(&heartbeat)?,
            progress: heartbeat.progress.into_iter().map(progress).collect::<Result<_, _>>()?,
        }),
        Message::Report(report) => Ok(Event::TaskReported {
            worker,
            epoch,
            sequence: report.sequence,
            attempt: required(report.attempt)?,
            outcome: outcome(report.outcome)?,
        }),
        Message::Draining(_) => Ok(Event::WorkerDraining { worker, epoch }),
        Message::Demand(demand) => Ok(Event::LeaseDemand { worker, epoch, demand: leases::demand(demand)? }),
        Message::LeaseReleased(ended) => Ok(Event::LeaseReleased { worker, epoch, lease: LeaseId(ended.lease) }),
        Message::LeaseReturned(ended) => Ok(Event::LeaseReturned { worker, epoch, lease: LeaseId(ended.lease) }),
        Message::GroupWanted(group) => Ok(Event::GroupWanted { worker, epoch, plan: groups::plan(group)? }),
        Message::GroupRemoved(ended) => {
            Ok(Event::GroupRemoved { worker, epoch, group: groups::group_id(&ended.group)? })
        }
    }
}

fn attempt_id(attempt: v1::TaskAttempt) -> AttemptId {
    let (task, attempt) = attempt.ids();
    AttemptId { task, attempt }
}

fn required(attempt: Option<v1::TaskAttempt>) -> Result<AttemptId, Malformed> {
    attempt.map(attempt_id).ok_or(Malformed("it names no attempt"))
}

fn held_output(held: v1::HeldOutput) -> Result<HeldOutput, Malformed> {
    let finished = held.finished.ok_or(Malformed("held output without a report"))?;
    Ok(HeldOutput { attempt: required(held.attempt)?, output: task_output(finished)? })
}

fn progress(progress: v1::TaskProgress) -> Result<Progress, Malformed> {
    Ok(Progress { attempt: required(progress.attempt)?, rows: progress.rows, bytes: progress.bytes })
}

fn outcome(outcome: Option<task_report::Outcome>) -> Result<TaskOutcome, Malformed> {
    match outcome.ok_or(Malformed("a report without an outcome"))? {
        task_report::Outcome::Finished(finished) => Ok(TaskOutcome::Finished(Box::new(task_output(finished)?))),
        task_report::Outcome::Failed(failed) => {
            Ok(TaskOutcome::Failed(TaskFailure { kind: failure_kind(&failed)?, message: failed.message }))
        }
    }
}

fn failure_kind(failed: &v1::TaskFailed) -> Result<FailureKind, Malformed> {
    match failed.kind() {
        v1::FailureKind::Retry => Ok(FailureKind::Retry),
        v1::FailureKind::Fatal => Ok(FailureKind::Fatal),
        v1::FailureKind::Resources => Ok(FailureKind::Resources),
        v1::FailureKind::Cancelled => Ok(FailureKind::Cancelled),
        v1::FailureKind::Fetch => Ok(FailureKind::Fetch {
            stage: StageId(failed.lost_stage),
            partition: PartitionId(failed.lost_partition),
            worker: WorkerId(failed.lost_worker),
        }),
        v1::FailureKind::Unspecified => Err(Malformed("a failure of no kind")),
    }
}

fn task_output(finished: v1::TaskFinished) -> Result<TaskOutput, Malformed> {
    Ok(TaskOutput {
        partition_sizes: finished.partition_sizes.into_boxed_slice(),
        metrics: task_metrics(finished.metrics.unwrap_or_default())?,
        files: finished.files.into_iter().map(staged_file).collect(),
    })
}

fn task_metrics(metrics: v1::TaskMetrics) -> Result<TaskMetrics, Malformed> {
    Ok(TaskMetrics {
        counts: metrics.counts.into_iter().map(row_count).collect::<Result<_, _>>()?,
        operators: metrics.operators.into_iter().map(operator_metrics).collect(),
        output_rows: metrics.output_rows,
        output_bytes: metrics.output_bytes,
        shuffle_local_bytes: metrics.shuffle_local_bytes,
        shuffle_remote_bytes: metrics.shuffle_remote_bytes,
        fetch_wait_ms: metrics.fetch_wait_ms,
        spilled_bytes: metrics.spilled_bytes,
    })
}

fn row_count(count: v1::RowCount) -> Result<RowCount, Malformed> {
    let kind = match count.kind() {
        v1::RowCountKind::Read => CountKind::Read,
        v1::RowCountKind::Rejected => CountKind::Rejected,
        v1::RowCountKind::Step => CountKind::Step,
        v1::RowCountKind::Written => CountKind::Written,
        v1::RowCountKind::Warned => CountKind::Warned,
        v1::RowCountKind::Worked => CountKind::Worked,
        v1::RowCountKind::Timed => CountKind::Timed,
        v1::RowCountKind::Unspecified => return Err(Malformed("a count of no kind")),
    };
    Ok(RowCount { name: count.name, kind, rows: count.rows, bytes: count.bytes })
}

fn operator_metrics(metrics: v1::OperatorMetrics) -> OperatorMetrics {
    let v1::OperatorMetrics { node, name, output_rows, elapsed_ns, spilled_bytes } = metrics;
    OperatorMetrics { node, name, output_rows, elapsed_ns, spilled_bytes }
}

fn staged_file(file: v1::StagedFile) -> StagedFile {
    let v1::StagedFile { sink, staged_path, final_path, rows, bytes, multipart_id, parts } = file;
    StagedFile { sink, staged_path, final_path, rows, bytes, multipart_id, parts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcome: Option<task_report::Outcome>) -> v1::WorkerMessage {
        let attempt = Some(v1::TaskAttempt { job: 1, stage: 2, task: 3, attempt: 4 });
        let report = v1::TaskReport { sequence: 5, attempt, outcome };
        v1::WorkerMessage { epoch: 6, message: Some(Message::Report(report)) }
    }

    #[test]
    fn a_report_becomes_an_event_with_its_ids() {
        let failed = v1::TaskFailed { kind: v1::FailureKind::Fetch.into(), lost_stage: 7, ..Default::default() };
        let event = worker_event(WorkerId(9), report(Some(task_report::Outcome::Failed(failed)))).unwrap();
        let Event::TaskReported { worker, epoch, sequence, attempt, outcome } = event else { panic!("{event:?}") };
        assert_eq!((worker, epoch, sequence), (WorkerId(9), Epoch(6), 5));
        assert_eq!(format!("{attempt:?}"), "j0000000000000001/2/3#4");
        let TaskOutcome::Failed(failure) = outcome else { panic!("{outcome:?}") };
        assert!(matches!(failure.kind, FailureKind::Fetch { stage: StageId(7), .. }));
    }

    #[test]
    fn what_is_left_out_is_refused() {
        let unspecified = task_report::Outcome::Failed(v1::TaskFailed::default());
        for message in [
            v1::WorkerMessage::default(),
            v1::WorkerMessage { epoch: 1, message: Some(Message::Register(v1::Register::default())) },
            v1::WorkerMessage { epoch: 1, message: Some(Message::Report(v1::TaskReport::default())) },
            report(None),
            report(Some(unspecified)),
        ] {
            assert!(worker_event(WorkerId(1), message.clone()).is_err(), "{message:?}");
        }
    }
}
