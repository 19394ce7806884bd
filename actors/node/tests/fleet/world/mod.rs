//! A fleet of virtual workers that run programs without doing any work: one real `Cluster`, the real node of every worker, and processes
//! that take only virtual time. What one says to another comes later and in order; nothing is lost.

mod agenda;
mod coordinator;
mod meter;
mod process;
mod script;
mod site;
mod wire;

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::{ExecutorId, JobId, PROTOCOL, WorkerId};
use tandem_node::views::ActorStateView;
use tandem_node::{Action, Event, ExitCause, Node, Timestamp};
use tandem_scheduler::Action as Order;

use agenda::{Agenda, Due};
use coordinator::Coordinator;
use process::{Process, Said};
use site::Site;

pub(crate) use meter::Meter;
pub(crate) use script::Load;

/// How long a message between two processes of the cluster takes.
const LINK_US: u64 = 500;
/// How long a process takes to start.
const START_US: u64 = 20_000;
const BEAT_US: u64 = 500_000;
/// Actors that are gone, of which a node can say why.
pub(crate) const GONE_ACTORS: usize = 1_024;

/// How large the fleet is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) workers: u64,
    pub(crate) slots: u32,
    /// Each is a job, whose driver is on another worker as long as there are enough.
    pub(crate) programs: u64,
}

/// What lives at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alive {
    pub(crate) tasks: u64,
    pub(crate) light_actors: u64,
    pub(crate) process_actors: u64,
}

/// What nodes know of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) tasks: usize,
    pub(crate) objects: usize,
    pub(crate) actors: usize,
    pub(crate) gone_actors: usize,
    pub(crate) timers: usize,
}

/// What was said so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) beats: u64,
    /// To the coordinator, heartbeats apart.
    pub(crate) to_coordinator: u64,
    pub(crate) from_coordinator: u64,
    pub(crate) between_nodes: u64,
}

/// See the module's header.
pub(crate) struct Fleet {
    agenda: Agenda,
    coordinator: Coordinator,
    sites: Vec<Site>,
    pub(crate) load: Load,
    programs: u64,
    /// Drivers whose script has ended.
    finished: u64,
    ended_jobs: u64,
    pub(crate) tasks_done: u64,
    pub(crate) alive: Alive,
    pub(crate) most: Alive,
    pub(crate) traffic: Traffic,
    pub(crate) nodes: Meter,
}

impl Fleet {
    /// All workers are registered and all programs accepted.
    pub(crate) fn new(size: Size, load: Load) -> Self {
        let mut fleet = Self {
            agenda: Agenda::default(),
            coordinator: Coordinator::new(),
            sites: (1..=size.workers).map(|worker| Site::new(WorkerId(worker))).collect(),
            load,
            programs: size.programs,
            finished: 0,
            ended_jobs: 0,
            tasks_done: 0,
            alive: Alive::default(),
            most: Alive::default(),
            traffic: Traffic::default(),
            nodes: Meter::default(),
        };
        for index in 0..fleet.sites.len() {
            let registered = fleet.sites[index].registration(size.slots);
            fleet.decide(registered);
        }
        for job in 1..=size.programs {
            fleet.decide(Coordinator::program(JobId(job)));
        }
        fleet
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.agenda.now_us()
    }

    /// What the coordinator's state machine took.
    pub(crate) fn decisions(&self) -> &Meter {
        &self.coordinator.meter
    }

    pub(crate) fn leases(&self) -> u32 {
        self.coordinator.leases()
    }

    /// What nodes know of, over all of them.
    pub(crate) fn known(&self) -> Known {
        let sum = |count: fn(&Node) -> usize| self.sites.iter().map(|site| count(&site.node)).sum();
        let gone_actors = sum(gone_actors);
        Known {
            tasks: sum(|node| node.task_count(None)),
            objects: sum(|node| node.object_count(None)),
            actors: sum(|node| node.actor_count(None)) - gone_actors,
            gone_actors,
            timers: sum(Node::timer_count),
        }
    }

    pub(crate) fn run_for(&mut self, us: u64) {
        let until_us = self.now_us() + us;
        while let Some(due) = self.agenda.pop(until_us) {
            self.happen(due);
        }
    }

    /// Runs until every driver has done all it wants.
    pub(crate) fn run_to_end(&mut self) {
        while self.finished < self.programs {
            let due = self.agenda.pop(u64::MAX).expect("heartbeats never end");
            self.happen(due);
        }
    }

    /// Has the drivers return, and waits until the cluster has forgotten their jobs.
    pub(crate) fn close(&mut self) {
        for index in 0..self.sites.len() {
            for executor in self.sites[index].drivers() {
                self.agenda.say(index, executor, ToNode::DriverDone(Ok(())));
            }
        }
        while self.ended_jobs < self.programs {
            let due = self.agenda.pop(u64::MAX).expect("heartbeats never end");
            self.happen(due);
        }
        self.run_for(2_000_000);
    }

    /// Nothing is left of tasks, objects, actors and leases.
    pub(crate) fn assert_nothing_lives(&self) {
        let known = self.known();
        assert_eq!((known.tasks, known.objects, known.actors, known.timers), (0, 0, 0, 0), "{known:?}");
        assert!(known.gone_actors <= self.sites.len() * GONE_ACTORS, "{known:?}");
        assert_eq!((self.leases(), self.coordinator.audit()), (0, Vec::new()));
        let live = self.sites.iter().flat_map(|site| site.node.live_counts(None)).count();
        assert_eq!((live, self.alive.tasks), (0, 0), "functions that run");
    }

    /// Nothing is left of processes either.
    pub(crate) fn assert_nothing_is_left(&self) {
        self.assert_nothing_lives();
        for site in &self.sites {
            assert!(site.processes.is_empty() && site.node.executors(None).next().is_none());
            assert!(site.ledger.is_empty(), "{:?}", site.ledger);
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Node(index, event) => self.node(index, event),
            Due::Process(index, executor, message) => self.hear(index, executor, message),
            Due::Started(index, executor) => self.started(index, executor),
            Due::Worked(index, executor) => {
                self.work(index, executor, |process, load, said| process.worked(load, said))
            }
            Due::GoOn(index, executor) => self.work(index, executor, Process::go_on),
            Due::Kill(index, executor) => self.gone(index, executor, ExitCause::Asked),
            Due::Coordinator(event) => {
                self.traffic.to_coordinator += 1;
                self.decide(event);
            }
            Due::Order(index, order) => self.obey(index, order),
            Due::Beat(index) => {
                self.traffic.beats += 1;
                self.agenda.after(BEAT_US, Due::Beat(index));
                let beat = self.sites[index].beat();
                self.decide(beat);
            }
            Due::Tick(index) => {
                self.sites[index].armed_us = u64::MAX;
                self.node(index, Event::Tick);
            }
            Due::Deadline => self.decide(tandem_scheduler::Event::Tick),
        }
    }

    /// The node of a worker handles an event.
    fn node(&mut self, index: usize, event: Event) {
        let now = Timestamp(self.now_us());
        let site = &mut self.sites[index];
        let actions = self.nodes.time(|| site.node.handle(now, event));
        if let Some(next) = site.node.next_deadline().filter(|next| next.0 < site.armed_us) {
            site.armed_us = next.0;
            self.agenda.at(next.0, Due::Tick(index));
        }
        for action in actions {
            self.perform(index, action);
        }
    }

    fn perform(&mut self, index: usize, action: Action) {
        match action {
            Action::StartExecutor { executor, .. } => {
                self.sites[index].processes.insert(executor, Process::new());
                self.agenda.after(START_US, Due::Started(index, executor));
            }
            Action::Send { executor, message } => self.agenda.after(0, Due::Process(index, executor, message)),
            Action::StopExecutor { executor, .. } => self.agenda.after(0, Due::Kill(index, executor)),
            Action::SendPeer { worker, message } => {
                self.traffic.between_nodes += 1;
                let event = Event::FromPeer { worker: self.sites[index].worker, message };
                self.agenda.after(LINK_US, Due::Node(site::index(worker), event));
            }
            Action::KnowPeer { .. } | Action::Note { .. } => {}
            action => {
                if let Some(event) = self.sites[index].tell(action) {
                    self.agenda.after(LINK_US, Due::Coordinator(event));
                }
            }
        }
    }

    fn started(&mut self, index: usize, executor: ExecutorId) {
        if self.sites[index].processes.contains_key(&executor) {
            self.node(index, Event::ExecutorStarted { executor, outcome: Ok(1) });
            let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
            self.agenda.say(index, executor, ToNode::Hello(hello));
        }
    }

    fn hear(&mut self, index: usize, executor: ExecutorId, message: ToExecutor) {
        self.work(index, executor, |process, load, said| process.hear(load, message, said));
    }

    /// A process does something, if it is still there.
    fn work(&mut self, index: usize, executor: ExecutorId, does: impl FnOnce(&mut Process, &Load, &mut Said)) {
        let Some(process) = self.sites[index].processes.get_mut(&executor) else { return };
        let mut said = Said::default();
        let before = process.alive();
        does(process, &self.load, &mut said);
        let after = process.alive();
        self.count(before, after);
        self.tasks_done += said.tasks_done;
        self.finished += u64::from(said.finished);
        if let Some(us) = said.works_us {
            self.agenda.after(us, Due::Worked(index, executor));
        }
        said.messages.into_iter().for_each(|message| self.agenda.say(index, executor, message));
        if said.goes_on {
            self.agenda.after(0, Due::GoOn(index, executor));
        }
        if said.exits {
            self.gone(index, executor, ExitCause::Exited(0));
        }
    }

    fn gone(&mut self, index: usize, executor: ExecutorId, cause: ExitCause) {
        if let Some(process) = self.sites[index].processes.remove(&executor) {
            self.count(process.alive(), Alive::default());
            self.agenda.after(0, Due::Node(index, Event::ExecutorGone { executor, cause }));
        }
    }

    fn count(&mut self, before: Alive, after: Alive) {
        let count = |sum: &mut u64, most: &mut u64, before: u64, after: u64| {
            *sum = *sum + after - before;
            *most = (*most).max(*sum);
        };
        count(&mut self.alive.tasks, &mut self.most.tasks, before.tasks, after.tasks);
        count(&mut self.alive.light_actors, &mut self.most.light_actors, before.light_actors, after.light_actors);
        let (sum, most) = (&mut self.alive.process_actors, &mut self.most.process_actors);
        count(sum, most, before.process_actors, after.process_actors);
    }

    /// The coordinator handles an event.
    fn decide(&mut self, event: tandem_scheduler::Event) {
        let now_us = self.now_us();
        for order in self.coordinator.handle(now_us, event) {
            match order {
                Order::Registered { worker, epoch } => {
                    let index = site::index(worker);
                    self.sites[index].epoch = epoch;
                    self.agenda.after(BEAT_US * worker.0 / self.sites.len() as u64, Due::Beat(index));
                }
                Order::JobEnded { outcome, .. } => {
                    assert_eq!(outcome, tandem_scheduler::JobOutcome::Succeeded);
                    self.ended_jobs += 1;
                }
                order => {
                    if let Some(worker) = coordinator::addressee(&order) {
                        self.traffic.from_coordinator += 1;
                        self.agenda.after(LINK_US, Due::Order(site::index(worker), order));
                    }
                }
            }
        }
        if let Some(deadline_us) = self.coordinator.deadline_us(now_us) {
            self.agenda.at(deadline_us, Due::Deadline);
        }
    }

    /// A worker does what the coordinator says.
    fn obey(&mut self, index: usize, order: Order) {
        if let Some(event) = self.sites[index].hear(order) {
            self.node(index, event);
        }
    }
}

fn gone_actors(node: &Node) -> usize {
    node.actors(None).filter(|actor| actor.state == ActorStateView::Gone).count()
}
