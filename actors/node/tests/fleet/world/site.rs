//! One worker: its node, its processes, and what its shell knows of leases and tells the coordinator again with each heartbeat.

use std::collections::{BTreeMap, BTreeSet};

use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ExecutorId, JobId, WorkerId};
use tandem_node::{Action, DriverWork, Event, Node, NodeConfig};
use tandem_proto::{Epoch, LeaseId};
use tandem_scheduler::{
    Action as Order, AttemptId, Event as Report, LeaseDemand, LeaseReport, Progress, Registration, TaskOutcome,
    WorkerInfo, WorkerUsage,
};

use super::process::Process;
use super::wire;

/// See the module's header.
pub(crate) struct Site {
    pub(crate) worker: WorkerId,
    pub(crate) node: Node,
    pub(crate) processes: BTreeMap<ExecutorId, Process>,
    pub(crate) ledger: Ledger,
    pub(crate) epoch: Epoch,
    /// When the node is looked at next, if nothing happens before.
    pub(crate) armed_us: u64,
}

/// What worker and coordinator must agree on.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    hosted: BTreeSet<LeaseId>,
    owned: BTreeSet<LeaseId>,
    demand: BTreeMap<(JobId, Shape), u32>,
    jobs: BTreeSet<JobId>,
    drivers: BTreeMap<JobId, AttemptId>,
    reports: u64,
}

impl Ledger {
    pub(crate) fn is_empty(&self) -> bool {
        let leases = self.hosted.is_empty() && self.owned.is_empty() && self.demand.is_empty();
        leases && self.jobs.is_empty() && self.drivers.is_empty()
    }
}

/// The place of a worker in the fleet.
pub(crate) fn index(worker: WorkerId) -> usize {
    worker.0 as usize - 1
}

impl Site {
    pub(crate) fn new(worker: WorkerId) -> Self {
        let node = Node::new(NodeConfig::new(worker, format!("worker-{}", worker.0)));
        Self {
            worker,
            node,
            processes: BTreeMap::new(),
            ledger: Ledger::default(),
            epoch: Epoch(0),
            armed_us: u64::MAX,
        }
    }

    /// The processes of drivers.
    pub(crate) fn drivers(&self) -> Vec<ExecutorId> {
        self.processes.iter().filter(|(_, process)| process.is_driver()).map(|(executor, _)| *executor).collect()
    }

    pub(crate) fn registration(&self, slots: u32) -> Report {
        let name = format!("worker-{}", self.worker.0);
        let info = WorkerInfo { data_address: format!("{name}:7000"), name, slots, ..WorkerInfo::default() };
        Report::WorkerRegistered(Box::new(Registration::new(self.worker, info)))
    }

    pub(crate) fn beat(&self) -> Report {
        let ledger = &self.ledger;
        let demand = ledger.demand.iter().map(|((job, shape), wanted)| demand(*job, shape.clone(), *wanted));
        let progress = ledger.drivers.values().map(|attempt| Progress { attempt: *attempt, rows: 0, bytes: 0 });
        Report::Heartbeat {
            worker: self.worker,
            epoch: self.epoch,
            usage: WorkerUsage::default(),
            progress: progress.collect(),
            leases: LeaseReport {
                hosted: ledger.hosted.iter().copied().collect(),
                owned: ledger.owned.iter().copied().collect(),
                demand: demand.collect(),
                jobs: ledger.jobs.iter().copied().collect(),
                groups: Vec::new(),
                may_leave: false,
            },
        }
    }

    /// What the coordinator is told of an action of the node.
    pub(crate) fn tell(&mut self, action: Action) -> Option<Report> {
        let (worker, epoch, ledger) = (self.worker, self.epoch, &mut self.ledger);
        Some(match action {
            Action::Demand { job, shape, wanted, .. } => {
                match wanted {
                    0 => ledger.demand.remove(&(job, shape.clone())),
                    _ => ledger.demand.insert((job, shape.clone()), wanted),
                };
                Report::LeaseDemand { worker, epoch, demand: demand(job, shape, wanted) }
            }
            Action::ReleaseLease { lease } => {
                ledger.owned.remove(&LeaseId(lease));
                Report::LeaseReleased { worker, epoch, lease: LeaseId(lease) }
            }
            Action::ReturnLease { lease } => {
                ledger.hosted.remove(&LeaseId(lease));
                Report::LeaseReturned { worker, epoch, lease: LeaseId(lease) }
            }
            Action::DriverEnded { job, outcome, .. } => {
                assert_eq!(outcome, Ok(()));
                ledger.reports += 1;
                let attempt = ledger.drivers.remove(&job)?;
                let outcome = TaskOutcome::Finished(Box::default());
                Report::TaskReported { worker, epoch, sequence: ledger.reports, attempt, outcome }
            }
            Action::ForgetJob { job } => {
                ledger.jobs.remove(&job);
                ledger.demand.retain(|(of, _), _| *of != job);
                return None;
            }
            other => panic!("no program here makes a node do {other:?}"),
        })
    }

    /// What the node is told of an order of the coordinator.
    pub(crate) fn hear(&mut self, order: Order) -> Option<Event> {
        let ledger = &mut self.ledger;
        Some(match order {
            Order::Launch { attempt, .. } => {
                let job = attempt.task.job;
                ledger.jobs.insert(job);
                ledger.drivers.insert(job, attempt);
                Event::DriverLaunched { job, attempt: attempt.attempt.0, driver: DriverWork::Program(Vec::new()) }
            }
            Order::GrantLease { grant, owner_address, host_address, .. } => {
                ledger.jobs.insert(grant.job);
                if grant.host == self.worker {
                    ledger.hosted.insert(grant.lease);
                }
                if grant.owner == self.worker {
                    ledger.owned.insert(grant.lease);
                }
                Event::LeaseGranted(wire::grant(grant, owner_address, host_address))
            }
            Order::RevokeLease { lease, .. } => {
                ledger.owned.remove(&lease);
                Event::LeaseRevoked { lease: lease.0 }
            }
            Order::JobGone { job, .. } => Event::JobGone { job },
            _ => return None,
        })
    }
}

fn demand(job: JobId, shape: Shape, wanted: u32) -> LeaseDemand {
    LeaseDemand { job, shape: wire::to_coordinator(shape), bundle: None, wanted }
}
