//! A virtual worker: keeps the worker's side of the protocol as the real one does, without doing any work.

use std::collections::{BTreeMap, BTreeSet};

use tandem_proto::{Epoch, JobId, StageId, WorkerId};
use tandem_scheduler::{
    AttemptId, HeldOutput, Progress, Registration, Resources, TaskFailure, TaskOutcome, TaskOutput, WorkerInfo,
};

use crate::node::VirtualNode;

/// The stream to the coordinator, as the worker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Away,
    Registering { stream: u64 },
    Attached { stream: u64, epoch: Epoch },
}

/// One output of an input stage.
#[derive(Debug, Clone)]
pub(crate) struct ToRead {
    /// What wrote it.
    pub(crate) attempt: AttemptId,
    /// Its number.
    pub(crate) number: u32,
    /// Where it is.
    pub(crate) from: WorkerId,
}

/// An attempt that runs here.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) inputs_version: u32,
    pub(crate) cancelled: bool,
    /// Inputs still to read; none before they were asked for.
    pub(crate) to_read: Option<Vec<ToRead>>,
    /// Which attempts of stages that are not deterministic went into this one.
    pub(crate) lineage: BTreeMap<(StageId, u32), u32>,
}

/// One worker process.
#[derive(Debug)]
pub(crate) struct VirtualWorker {
    pub(crate) id: WorkerId,
    pub(crate) slots: u32,
    /// Its tasks take this many times longer.
    pub(crate) slowness: u64,
    pub(crate) link: Link,
    /// Stopped, as by SIGSTOP, until then.
    pub(crate) paused_until: u64,
    /// Its network is cut until then.
    pub(crate) cut_until: u64,
    pub(crate) draining: bool,
    pub(crate) running: BTreeMap<AttemptId, Run>,
    pub(crate) held: BTreeMap<AttemptId, TaskOutput>,
    pub(crate) node: VirtualNode,
    /// What it has besides slots and memory.
    pub(crate) resources: Resources,
    labels: BTreeMap<String, String>,
    ended: BTreeSet<AttemptId>,
    sequence: u64,
    /// Reports that were not acknowledged.
    pub(crate) owed: BTreeMap<u64, (AttemptId, TaskOutcome)>,
}

impl VirtualWorker {
    /// `extras` says its labels and what it has besides slots.
    pub(crate) fn new(id: WorkerId, slots: u32, slowness: u64, extras: WorkerInfo) -> Self {
        Self {
            id,
            slots,
            slowness,
            link: Link::Away,
            paused_until: 0,
            cut_until: 0,
            draining: false,
            running: BTreeMap::new(),
            held: BTreeMap::new(),
            node: VirtualNode::default(),
            resources: extras.resources,
            labels: extras.labels,
            ended: BTreeSet::new(),
            sequence: 0,
            owed: BTreeMap::new(),
        }
    }

    pub(crate) fn registration(&self) -> Registration {
        let held = self.held.iter().map(|(&attempt, output)| HeldOutput { attempt, output: output.clone() });
        Registration {
            worker: self.id,
            info: WorkerInfo {
                name: format!("worker-{}", self.id.0),
                data_address: format!("10.0.0.{}:7000", self.id.0),
                slots: self.slots,
                memory_bytes: 64 << 30,
                resources: self.resources.clone(),
                labels: self.labels.clone(),
                ..WorkerInfo::default()
            },
            running: self.running.keys().copied().collect(),
            held: held.collect(),
            jobs: self.node.executors.iter().copied().collect(),
            leases: self.node.leases(),
            groups: self.node.groups.values().cloned().collect(),
        }
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.running.keys().map(|&attempt| Progress { attempt, rows: 1, bytes: 10 }).collect()
    }

    /// Starts an attempt, unless it runs or has run. True when it is new.
    pub(crate) fn launch(&mut self, attempt: AttemptId, inputs_version: u32) -> bool {
        if self.running.contains_key(&attempt) || self.ended.contains(&attempt) {
            return false;
        }
        let run = Run { inputs_version, cancelled: false, to_read: None, lineage: BTreeMap::new() };
        self.running.insert(attempt, run);
        true
    }

    /// An attempt ended; the report is owed until acknowledged.
    pub(crate) fn end(&mut self, attempt: AttemptId, outcome: TaskOutcome) -> Option<u64> {
        self.running.remove(&attempt)?;
        self.ended.insert(attempt);
        if let TaskOutcome::Finished(output) = &outcome {
            self.held.insert(attempt, (**output).clone());
        }
        self.sequence += 1;
        self.owed.insert(self.sequence, (attempt, outcome));
        Some(self.sequence)
    }

    pub(crate) fn drop_output(&mut self, job: JobId, stage: Option<StageId>) {
        let dropped =
            |attempt: &AttemptId| attempt.task.job == job && stage.is_none_or(|stage| attempt.task.stage == stage);
        self.held.retain(|attempt, _| !dropped(attempt));
    }
}

/// A failure with a message that names its kind.
pub(crate) fn failed(kind: tandem_scheduler::FailureKind) -> TaskOutcome {
    TaskOutcome::Failed(TaskFailure { kind, message: format!("{kind:?}") })
}
