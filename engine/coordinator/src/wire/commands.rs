//! What the state machine wants a worker to do, as messages on its stream.

use tandem_graph::InputSlice;
use tandem_proto::v1::{self, coordinator_message::Message};
use tandem_proto::{Epoch, Term, WorkerId};
use tandem_scheduler::{Action, AttemptId};

use super::groups::{wire_bundle, wire_news};
use super::leases::{wire_grant, wire_shape};

/// The answer to a registration, the first message of a stream.
pub(crate) fn registered(epoch: Epoch, term: Term, interval_ms: u64, cluster: &str) -> v1::CoordinatorMessage {
    let registered = v1::Registered {
        term: term.0,
        heartbeat_interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX),
        cluster_name: cluster.to_owned(),
    };
    envelope(epoch, Message::Registered(registered))
}

/// The last message of a stream that was not let in.
pub(crate) fn rejected(reason: String) -> v1::CoordinatorMessage {
    envelope(Epoch(0), Message::Rejected(v1::Rejected { reason }))
}

/// The worker, epoch and message of an action that is for a worker; none for what the shell does itself.
pub(crate) fn command(action: &Action) -> Option<(WorkerId, Epoch, v1::CoordinatorMessage)> {
    let (worker, epoch, message) = match action {
        Action::Acknowledge { worker, epoch, sequence } => {
            (worker, epoch, Message::Ack(v1::ReportAck { sequence: *sequence }))
        }
        Action::Launch { worker, epoch, attempt, work, inputs_version } => {
            let launch = v1::LaunchTask {
                attempt: Some(wire_attempt(*attempt)),
                partitions: work.partitions.clone(),
                inputs_version: *inputs_version,
                first_output: work.first_output,
                slice: work.slice.as_ref().map(input_slice),
                merged: work.merged,
                // Whoever sends it knows whether the worker knows the stage.
                definition: None,
            };
            (worker, epoch, Message::Launch(launch))
        }
        Action::Cancel { worker, epoch, attempt } => {
            (worker, epoch, Message::Cancel(v1::CancelTask { attempt: Some(wire_attempt(*attempt)) }))
        }
        Action::DropOutput { worker, epoch, job, stage } => {
            let (stage, all_stages) = stage.map_or((0, true), |stage| (stage.0, false));
            (worker, epoch, Message::DropOutput(v1::DropOutput { job: job.0, stage, all_stages }))
        }
        Action::JobGone { worker, epoch, job } => (worker, epoch, Message::JobGone(v1::JobGone { job: job.0 })),
        Action::GrantLease { worker, epoch, grant, owner_address, host_address } => {
            (worker, epoch, Message::LeaseGranted(wire_grant(grant, owner_address, host_address)))
        }
        Action::RevokeLease { worker, epoch, lease } => {
            (worker, epoch, Message::LeaseRevoked(v1::LeaseEnded { lease: lease.0 }))
        }
        Action::RefuseLease { worker, epoch, job, shape, bundle, reason } => {
            let refused = v1::LeaseRefused {
                job: job.0,
                shape: Some(wire_shape(shape)),
                reason: reason.clone(),
                bundle: bundle.map(wire_bundle),
            };
            (worker, epoch, Message::LeaseRefused(refused))
        }
        Action::GroupChanged { worker, epoch, job, group, news } => {
            (worker, epoch, Message::GroupChanged(wire_news(*job, *group, news)))
        }
        Action::WorkerGone { worker, epoch, gone } => {
            (worker, epoch, Message::WorkerGone(v1::WorkerGone { worker: gone.0 }))
        }
        Action::Drain { worker, epoch } => (worker, epoch, Message::Drain(v1::Drain {})),
        Action::Shutdown { worker, epoch } => (worker, epoch, Message::Shutdown(v1::Shutdown {})),
        Action::Registered { .. }
        | Action::Reject { .. }
        | Action::Disconnect { .. }
        | Action::Record(_)
        | Action::Commit { .. }
        | Action::CleanUp { .. }
        | Action::JobChanged { .. }
        | Action::JobEnded { .. }
        | Action::Forget { .. } => return None,
    };
    Some((*worker, *epoch, envelope(*epoch, message)))
}

fn input_slice(slice: &InputSlice) -> v1::InputSlice {
    let InputSlice { stage, producers } = slice;
    v1::InputSlice { stage: stage.0, first_producer: producers.start, end_producer: producers.end }
}

fn envelope(epoch: Epoch, message: Message) -> v1::CoordinatorMessage {
    v1::CoordinatorMessage { epoch: epoch.0, message: Some(message) }
}

pub(super) fn wire_attempt(attempt: AttemptId) -> v1::TaskAttempt {
    attempt.task.attempt(attempt.attempt)
}
