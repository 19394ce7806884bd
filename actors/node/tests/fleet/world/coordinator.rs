//! The coordinator: the state machine as it is, and as much of its shell as programs need.

use std::sync::Arc;

use tandem_graph::{Stage, StageGraph};
use tandem_proto::{JobId, Term, WorkerId};
use tandem_scheduler::{Action, Cluster, ClusterConfig, Event, JobPlan, Timestamp};

use super::meter::Meter;

/// See the module's header.
pub(crate) struct Coordinator {
    cluster: Cluster,
    pub(crate) meter: Meter,
    armed_us: u64,
}

impl Coordinator {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::new(ClusterConfig::default(), Term(1));
        Self { cluster, meter: Meter::default(), armed_us: u64::MAX }
    }

    /// A program is accepted.
    pub(crate) fn program(job: JobId) -> Event {
        let graph = StageGraph { stages: vec![Stage::driver()] };
        let plan =
            JobPlan { journaled: true, race_stragglers: false, executors: true, ..JobPlan::new("program", &graph) };
        Event::JobAccepted { job, plan: Arc::new(plan) }
    }

    pub(crate) fn handle(&mut self, now_us: u64, event: Event) -> Vec<Action> {
        if event == Event::Tick {
            self.armed_us = u64::MAX;
        }
        self.meter.time(|| self.cluster.handle(Timestamp(now_us / 1_000), event))
    }

    /// Its next deadline, if that was not asked for before.
    pub(crate) fn deadline_us(&mut self, now_us: u64) -> Option<u64> {
        let next_us = (self.cluster.next_deadline()?.0 * 1_000).max(now_us);
        let sooner = next_us < self.armed_us;
        self.armed_us = self.armed_us.min(next_us);
        sooner.then_some(next_us)
    }

    pub(crate) fn leases(&self) -> u32 {
        self.cluster.summary().leases
    }

    pub(crate) fn audit(&self) -> Vec<String> {
        self.cluster.audit()
    }
}

/// The worker that is to do this, if it is for one.
pub(crate) fn addressee(order: &Action) -> Option<WorkerId> {
    match order {
        Action::Launch { worker, .. }
        | Action::Acknowledge { worker, .. }
        | Action::DropOutput { worker, .. }
        | Action::JobGone { worker, .. }
        | Action::GrantLease { worker, .. }
        | Action::RevokeLease { worker, .. } => Some(*worker),
        Action::Record(_) | Action::JobChanged { .. } | Action::Forget { .. } | Action::CleanUp { .. } => None,
        other => panic!("nothing goes wrong here, but {other:?}"),
    }
}
