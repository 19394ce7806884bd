//! Some workers with their nodes and processes, and everything that is on its way between them. Whatever may come next is drawn by lot;
//! only what goes over one link keeps its order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::executor::{Role, ToExecutor};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::{ExecutorId, Location, ObjectId, WorkerId, object_owner};
use tandem_arena::ArenaConfig;
use tandem_node::{Action, DriverWork, Event, ExitCause, Lent, LentAt, Node, NodeConfig, SpillFile, Timestamp};

use crate::coordinator::{Coordinator, JOB};
use crate::counts::Counts;
pub(crate) use crate::disk::Disk;
use crate::disk::Order;
use crate::memory::Memory;
use crate::plan::Kinds;
use crate::process::{GROUP_MILLI, Process};
use crate::random::Random;

/// Everything.
pub(crate) struct World {
    pub(crate) seed: u64,
    random: Random,
    now: u64,
    kinds: Kinds,
    pub(crate) nodes: BTreeMap<WorkerId, Node>,
    memory: BTreeMap<WorkerId, Memory>,
    processes: BTreeMap<(WorkerId, ExecutorId), Process>,
    to_process: BTreeMap<(WorkerId, ExecutorId), VecDeque<ToExecutor>>,
    from_process: BTreeMap<(WorkerId, ExecutorId), VecDeque<Event>>,
    links: BTreeMap<(WorkerId, WorkerId), VecDeque<PeerMessage>>,
    known: BTreeMap<WorkerId, Vec<WorkerId>>,
    fetches: Vec<Fetch>,
    /// Of these, those that wait for the node that has the object, by ticket.
    reads: BTreeMap<u64, Fetch>,
    /// What that node has answered.
    given: Vec<(WorkerId, u64, Option<Lent>)>,
    pub(crate) disk: Disk,
    tickets: u64,
    pub(crate) coordinator: Coordinator,
    driver_at: WorkerId,
    pub(crate) driver_attempt: u32,
    /// Workers that drain.
    leaving: BTreeSet<WorkerId>,
    /// Workers that have gone after that.
    pub(crate) left: u64,
    /// Circles that one worker has told another.
    pub(crate) circles_told: u64,
    /// What was seen of actors that count.
    pub(crate) counts: Counts,
    /// How often actors have gone on from a checkpoint.
    pub(crate) restored: u64,
    /// Calls whose callers, on other workers, were told that a checkpoint covers them.
    pub(crate) covered: u64,
    /// Those of them that have yielded items, which come from yet another worker.
    pub(crate) covered_streams: u64,
    pub(crate) steps: u64,
    pub(crate) faults: Faults,
    trace: bool,
}

/// Copies of one object that are read from one worker at once.
const COPIES_AT_ONCE: u32 = 2;

/// What a node may have on disk.
fn spill_limit_bytes(kinds: Kinds) -> u64 {
    // Who takes items holds them until its end.
    if kinds.streams { 20 << 20 } else { 10 << 20 }
}

/// An object on its way to a worker from another.
#[derive(Debug, Clone, Copy)]
struct Fetch {
    to: WorkerId,
    object: ObjectId,
    from: WorkerId,
    into: Location,
}

/// What goes wrong, as one in so many steps; 0 is never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) process_dies: u64,
    pub(crate) worker_dies: u64,
    /// A worker drains.
    pub(crate) leaves: u64,
    pub(crate) revoked: u64,
    pub(crate) start_fails: u64,
    /// One in so many writes to disk.
    pub(crate) write_fails: u64,
    /// One in so many files.
    pub(crate) read_fails: u64,
    /// The driver and its worker live.
    pub(crate) spares_driver: bool,
    /// Nothing goes wrong after so many steps.
    pub(crate) until: u64,
}

enum Choice {
    ToProcess((WorkerId, ExecutorId)),
    FromProcess((WorkerId, ExecutorId)),
    Flush((WorkerId, ExecutorId)),
    Step((WorkerId, ExecutorId)),
    Link((WorkerId, WorkerId)),
    Coordinator(WorkerId),
    Fetch(usize),
    Given(usize),
    Disk(usize),
}

impl World {
    pub(crate) fn new(seed: u64, workers: u64, slots: u64, kinds: Kinds, faults: Faults) -> Self {
        let mut world = Self {
            seed,
            random: Random(seed),
            now: 0,
            kinds,
            nodes: BTreeMap::new(),
            memory: BTreeMap::new(),
            processes: BTreeMap::new(),
            to_process: BTreeMap::new(),
            from_process: BTreeMap::new(),
            links: BTreeMap::new(),
            known: BTreeMap::new(),
            fetches: Vec::new(),
            reads: BTreeMap::new(),
            given: Vec::new(),
            disk: Disk::default(),
            tickets: 0,
            coordinator: Coordinator::default(),
            driver_at: WorkerId(1),
            driver_attempt: 0,
            leaving: BTreeSet::new(),
            left: 0,
            circles_told: 0,
            counts: Counts::default(),
            restored: 0,
            covered: 0,
            covered_streams: 0,
            steps: 0,
            faults,
            trace: std::env::var_os("TANDEM_SIM_TRACE").is_some(),
        };
        for worker in 1..=workers {
            world.add_worker(WorkerId(worker), slots);
        }
        let launched = Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) };
        world.coordinator.tell(WorkerId(1), launched);
        world
    }

    fn add_worker(&mut self, worker: WorkerId, slots: u64) {
        let mut config = NodeConfig::new(worker, format!("worker-{}", worker.0));
        // Starts fail by lot, also some in a row, and tasks are not to fail for that.
        config.max_failed_starts = 10;
        // All that is large enough to be fetched at all.
        config.spread_bytes = 0;
        config.copies_at_once = COPIES_AT_ONCE;
        config.arena = ArenaConfig {
            extent_bytes: 4 << 20,
            quota_bytes: 256 << 20,
            min_lease_bytes: 64 << 10,
            max_lease_bytes: 1 << 20,
            max_objects: 100_000,
        };
        if self.kinds.extents > 0 {
            config.arena.extent_bytes = 2 << 20;
            config.arena.quota_bytes = self.kinds.extents * config.arena.extent_bytes;
            config.spill_limit_bytes = spill_limit_bytes(self.kinds);
        }
        self.nodes.insert(worker, Node::new(config));
        self.memory.insert(worker, Memory::default());
        // Beside the slots there is room for a placement group, which takes none of them.
        self.coordinator.slots_milli.insert(worker, slots * 1000 + GROUP_MILLI);
        self.coordinator.outbox.insert(worker, VecDeque::new());
    }

    /// Runs until the driver is done and nothing is on its way.
    pub(crate) fn run(&mut self) {
        while self.coordinator.driver_ended.is_none_or(|(_, good)| !good) {
            assert!(self.steps < 200_000, "seed {} does not end\n{}", self.seed, self.picture());
            self.relaunch();
            self.step();
        }
        self.faults = Faults::default();
        self.settle();
    }

    /// Runs so many steps, then until something is written or read. False: the driver has ended before.
    pub(crate) fn run_until_disk(&mut self, steps: u64) -> bool {
        while self.coordinator.driver_ended.is_none() {
            assert!(self.steps < 200_000, "seed {} does not end\n{}", self.seed, self.picture());
            if self.steps >= steps && self.disk.is_busy() {
                return true;
            }
            self.step();
        }
        false
    }

    /// Goes on until nothing happens any more, for longer than anything is waited for, however many timers there are.
    pub(crate) fn settle(&mut self) {
        let (mut quiet, mut since) = (0, self.now);
        while quiet < 40 || self.now < since + 1_000 {
            (quiet, since) = if self.step() { (0, self.now) } else { (quiet + 1, since) };
        }
    }

    fn relaunch(&mut self) {
        if let Some((attempt, false)) = self.coordinator.driver_ended
            && attempt == self.driver_attempt
        {
            self.launch_again();
        }
    }

    fn launch_again(&mut self) {
        self.driver_attempt += 1;
        let workers: Vec<WorkerId> = self.nodes.keys().copied().collect();
        self.driver_at = workers[self.random.below(workers.len() as u64) as usize];
        let launched =
            Event::DriverLaunched { job: JOB, attempt: self.driver_attempt, driver: DriverWork::Program(Vec::new()) };
        self.coordinator.tell(self.driver_at, launched);
    }

    /// One thing that may happen next, drawn by lot. False: only time has gone on.
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        self.go_wrong();
        self.coordinator.grant(&mut self.random);
        let choices = self.choices();
        let happened = !choices.is_empty();
        if happened {
            let at = self.random.below(choices.len() as u64) as usize;
            let choice = choices.into_iter().nth(at).expect("it was drawn from these");
            self.do_one(choice);
            self.now += u64::from(self.random.chance(20));
        } else {
            self.pass_time();
        }
        self.check();
        happened
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        let waiting =
            |(key, queue): (&(WorkerId, ExecutorId), &VecDeque<ToExecutor>)| (!queue.is_empty()).then_some(*key);
        choices.extend(self.to_process.iter().filter_map(waiting).map(Choice::ToProcess));
        let said = |(key, queue): (&(WorkerId, ExecutorId), &VecDeque<Event>)| (!queue.is_empty()).then_some(*key);
        choices.extend(self.from_process.iter().filter_map(said).map(Choice::FromProcess));
        for (key, process) in &self.processes {
            if !process.unflushed.is_empty() {
                choices.push(Choice::Flush(*key));
            }
            if process.role.is_some() && process.can_step() {
                choices.push(Choice::Step(*key));
            }
        }
        let sent = |(key, queue): (&(WorkerId, WorkerId), &VecDeque<PeerMessage>)| (!queue.is_empty()).then_some(*key);
        choices.extend(self.links.iter().filter_map(sent).map(Choice::Link));
        let told = self.coordinator.outbox.iter().filter(|(_, queue)| !queue.is_empty());
        choices.extend(told.map(|(worker, _)| Choice::Coordinator(*worker)));
        choices.extend((0..self.fetches.len()).map(Choice::Fetch));
        choices.extend((0..self.given.len()).map(Choice::Given));
        choices.extend((0..self.disk.orders.len()).map(Choice::Disk));
        choices
    }

    fn do_one(&mut self, choice: Choice) {
        match choice {
            Choice::ToProcess(key) => {
                let message = self.to_process.get_mut(&key).and_then(VecDeque::pop_front).expect("drawn");
                if let Some(process) = self.processes.get_mut(&key) {
                    process.hear(&self.memory[&key.0], message);
                    process.counted.drain(..).for_each(|count| self.counts.told(count));
                }
            }
            Choice::FromProcess(key) => {
                let event = self.from_process.get_mut(&key).and_then(VecDeque::pop_front).expect("drawn");
                self.event(key.0, event);
            }
            Choice::Flush(key) => self.flush(key),
            Choice::Step(key) => {
                let memory = self.memory.get_mut(&key.0).expect("its worker lives");
                let process = self.processes.get_mut(&key).expect("drawn");
                process.step(memory);
                process.counted.drain(..).for_each(|count| self.counts.told(count));
            }
            Choice::Link((from, to)) => {
                let message = self.links.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("drawn");
                self.event(to, Event::FromPeer { worker: from, message });
            }
            Choice::Coordinator(worker) => {
                let event = self.coordinator.outbox.get_mut(&worker).and_then(VecDeque::pop_front).expect("drawn");
                self.event(worker, event);
            }
            Choice::Fetch(index) => self.fetch(index),
            Choice::Given(index) => self.given(index),
            Choice::Disk(index) => self.use_disk(index),
        }
    }

    fn flush(&mut self, key: (WorkerId, ExecutorId)) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        let said = std::mem::take(&mut process.unflushed);
        let queue = self.from_process.entry(key).or_default();
        queue.extend(said.into_iter().map(|message| Event::FromExecutor { executor: key.1, message }));
    }

    fn fetch(&mut self, index: usize) {
        let fetch = self.fetches.swap_remove(index);
        if !self.nodes.contains_key(&fetch.from) {
            return self.fetched(fetch, Err("it is not there".to_owned()));
        }
        self.tickets += 1;
        let ticket = self.tickets;
        self.reads.insert(ticket, fetch);
        self.event(fetch.from, Event::ReadWanted { ticket, job: JOB, object: fetch.object });
    }

    /// A node has said where an object is that another reads.
    fn given(&mut self, index: usize) {
        let (from, ticket, lent) = self.given.swap_remove(index);
        let fetch = self.reads.remove(&ticket);
        let number = lent.and_then(|lent| match lent.at {
            LentAt::Arena(location) => Some(self.memory[&from].read(location).expect("what is read is there")),
            LentAt::Disk { file, length } => self.lend_from_disk(from, ticket, file, length),
        });
        if lent.is_some() {
            self.event(from, Event::SpaceDropped { ticket });
        }
        let Some(fetch) = fetch else { return };
        let outcome = number.ok_or_else(|| "it is not there".to_owned());
        let outcome = outcome.map(|number| self.memory.get_mut(&fetch.to).expect("it lives").write(fetch.into, number));
        self.fetched(fetch, outcome);
    }

    fn lend_from_disk(&mut self, from: WorkerId, ticket: u64, file: SpillFile, length: u64) -> Option<u64> {
        let Faults { read_fails, .. } = self.faults;
        let fails = read_fails > 0 && self.random.chance(read_fails);
        let number = self.disk.lend(from, file, length, fails);
        if number.is_none() {
            assert!(fails || self.coordinator.over, "a file stays as long as the job, and whoever reads it");
            self.event(from, Event::ReadFailed { ticket, reason: "a bit has flipped".to_owned() });
        }
        number
    }

    fn fetched(&mut self, fetch: Fetch, outcome: Result<(), String>) {
        self.event(fetch.to, Event::Fetched { job: JOB, object: fetch.object, outcome });
    }

    /// Something is written or read.
    fn use_disk(&mut self, index: usize) {
        let Faults { write_fails, read_fails, .. } = self.faults;
        let order = self.disk.orders.swap_remove(index);
        let fails = match order.what {
            Order::Write { .. } => write_fails,
            Order::Read { .. } => read_fails,
        };
        let fails = fails > 0 && self.random.chance(fails);
        let memory = self.memory.get_mut(&order.worker).expect("it lives");
        let event = self.disk.perform(order, memory, fails);
        self.event(order.worker, event);
    }

    fn pass_time(&mut self) {
        let next = self.nodes.values().filter_map(Node::next_deadline).min();
        self.now = next.map_or(self.now + 1000, |next| next.0.div_ceil(1000).max(self.now));
        for worker in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.event(worker, Event::Tick);
        }
    }

    fn event(&mut self, worker: WorkerId, event: Event) {
        if self.trace {
            eprintln!("{:>6} {} <- {event:?}", self.now, worker.0);
        }
        let Some(node) = self.nodes.get_mut(&worker) else { return };
        for action in node.handle(Timestamp::from_ms(self.now), event) {
            self.perform(worker, action);
        }
    }

    fn perform(&mut self, worker: WorkerId, action: Action) {
        if self.trace {
            eprintln!("       {} -> {action:?}", worker.0);
        }
        match action {
            Action::StartExecutor { executor, .. } => self.start(worker, executor),
            Action::Send { executor, message } => {
                let goes_on = matches!(&message, ToExecutor::StartHeld(start) if start.checkpoint.is_some());
                self.restored += u64::from(goes_on);
                if self.processes.contains_key(&(worker, executor)) {
                    self.to_process.entry((worker, executor)).or_default().push_back(message);
                }
            }
            Action::StopExecutor { executor, .. } => self.kill((worker, executor), ExitCause::Asked),
            Action::SendPeer { worker: to, message } => {
                assert!(self.known.get(&worker).is_some_and(|known| known.contains(&to)), "{worker} knows {to}");
                self.circles_told += u64::from(matches!(message.body, PeerBody::Deadlocked { .. }));
                if let PeerBody::Covered { yielded, .. } = message.body {
                    self.covered += 1;
                    self.covered_streams += u64::from(yielded > 0);
                }
                if self.nodes.contains_key(&to) {
                    self.links.entry((worker, to)).or_default().push_back(message);
                }
            }
            Action::Leave { may } => {
                let unsaid = self.links.iter().any(|((from, _), queue)| *from == worker && !queue.is_empty());
                if may && !unsaid && !self.coordinator.has_leases(worker) {
                    self.lose(worker);
                    self.left += 1;
                }
            }
            Action::KnowPeer { worker: other, .. } => self.known.entry(worker).or_default().push(other),
            Action::Fetch { object, from, into, .. } => self.fetches.push(Fetch { to: worker, object, from, into }),
            Action::ReadGiven { ticket, lent } => self.given.push((worker, ticket, lent)),
            Action::Spill { file, from, .. } => {
                let number = self.memory[&worker].read(from).expect("what is written is there");
                self.disk.write(worker, file, from, number);
            }
            Action::Restore { object, file, into, .. } => self.disk.read(worker, object, file, into),
            Action::DropSpilled { file } => self.disk.remove(worker, file),
            Action::MakeExtent { .. }
            | Action::DropExtent { .. }
            | Action::SpaceGiven { .. }
            | Action::FindName { .. }
            | Action::RunSql { .. }
            | Action::FunctionEnded { .. }
            | Action::Note { .. }
            | Action::ForgetJob { .. } => {}
            other => self.coordinator.hear(worker, other),
        }
    }

    fn start(&mut self, worker: WorkerId, executor: ExecutorId) {
        let key = (worker, executor);
        let queue = self.from_process.entry(key).or_default();
        if self.faults.start_fails > 0 && self.random.chance(self.faults.start_fails) {
            let outcome = Err("no memory".to_owned());
            queue.push_back(Event::ExecutorStarted { executor, outcome });
            return;
        }
        queue.push_back(Event::ExecutorStarted { executor, outcome: Ok(1) });
        self.processes.insert(key, Process::new(worker, self.kinds, self.seed));
    }

    fn kill(&mut self, key: (WorkerId, ExecutorId), cause: ExitCause) {
        let Some(mut process) = self.processes.remove(&key) else { return };
        // Some of what it has said last is lost with it, if it was not asked.
        if cause != ExitCause::Asked {
            let keep = self.random.below(process.unflushed.len() as u64 + 1) as usize;
            process.unflushed.truncate(keep);
        }
        self.to_process.remove(&key);
        let queue = self.from_process.entry(key).or_default();
        queue.extend(process.unflushed.into_iter().map(|message| Event::FromExecutor { executor: key.1, message }));
        queue.push_back(Event::ExecutorGone { executor: key.1, cause });
    }

    fn go_wrong(&mut self) {
        let stopping: Vec<(WorkerId, ExecutorId)> = self
            .processes
            .iter()
            .filter(|(_, process)| process.stopping && !process.can_step() && process.frame.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in stopping {
            self.kill(key, ExitCause::Exited(0));
        }
        if self.steps > self.faults.until {
            self.faults = Faults::default();
        }
        let Faults { process_dies, worker_dies, leaves, revoked, spares_driver, .. } = self.faults;
        if leaves > 0 && self.random.chance(leaves) {
            self.drain();
        }
        if revoked > 0 && self.random.chance(revoked) {
            self.coordinator.revoke_one(&mut self.random);
        }
        if process_dies > 0 && self.random.chance(process_dies) {
            let spared = |process: &Process| spares_driver && matches!(process.role, None | Some(Role::Driver { .. }));
            let processes = self.processes.iter().filter(|(_, process)| !spared(process));
            let keys: Vec<(WorkerId, ExecutorId)> = processes.map(|(key, _)| *key).collect();
            if !keys.is_empty() {
                let key = keys[self.random.below(keys.len() as u64) as usize];
                self.kill(key, ExitCause::Signalled(9));
            }
        }
        if worker_dies > 0 && self.nodes.len() > 1 && self.random.chance(worker_dies) {
            let mut workers: Vec<WorkerId> = self.nodes.keys().copied().collect();
            workers.retain(|worker| !spares_driver || *worker != self.driver_at);
            let worker = workers[self.random.below(workers.len() as u64) as usize];
            self.lose(worker);
        }
    }

    /// A worker that does not run the driver drains, and those that do already are asked whether they may leave.
    fn drain(&mut self) {
        let stays = |worker: &&WorkerId| **worker != self.driver_at && !self.leaving.contains(*worker);
        if let Some(worker) = self.nodes.keys().find(stays).copied() {
            self.leaving.insert(worker);
            self.coordinator.drain(worker);
        }
        for worker in self.leaving.clone() {
            self.event(worker, Event::LeaveWanted);
        }
    }

    fn lose(&mut self, worker: WorkerId) {
        self.leaving.remove(&worker);
        if self.trace {
            eprintln!("       worker {} is lost", worker.0);
        }
        self.nodes.remove(&worker);
        self.processes.retain(|key, _| key.0 != worker);
        self.to_process.retain(|key, _| key.0 != worker);
        self.from_process.retain(|key, _| key.0 != worker);
        self.links.retain(|(from, to), _| *from != worker && *to != worker);
        self.fetches.retain(|fetch| fetch.to != worker);
        self.given.retain(|(from, ..)| *from != worker);
        self.disk.lose(worker);
        self.reads.retain(|_, fetch| fetch.to != worker);
        let unanswered = self.reads.extract_if(.., |_, fetch| fetch.from == worker);
        self.fetches.extend(unanswered.map(|(_, fetch)| fetch));
        self.coordinator.lost(worker);
        if self.driver_at == worker && self.coordinator.driver_ended.is_none_or(|(_, good)| !good) {
            self.launch_again();
        }
    }

    /// What holds at every moment.
    fn check(&self) {
        let frames = self.processes.values().filter_map(|process| process.frame.as_ref());
        let taking = frames.filter_map(|frame| frame.taking.as_ref());
        let wanted: BTreeMap<_, u64> = taking.filter_map(|taking| Some((taking.call, taking.wanted()?))).collect();
        for (call, until) in self.processes.values().filter_map(Process::yields) {
            let most = wanted.get(&call).copied().unwrap_or(u64::MAX);
            assert!(until <= most, "seed {}: {call} may yield {until} where {most} are wanted", self.seed);
        }
        for worker in self.nodes.keys() {
            let works = self.processes.values().filter(|process| process.worker == *worker && process.works()).count();
            let leases = self.coordinator.task_leases(*worker);
            assert!(works <= leases, "seed {}: {works} tasks run on {leases} leases of {worker}", self.seed);
        }
        let mut copies: BTreeMap<(WorkerId, ObjectId), u32> = BTreeMap::new();
        for Fetch { object, from, .. } in self.fetches.iter().chain(self.reads.values()) {
            // Without its owner nobody gives turns.
            if self.nodes.contains_key(&object_owner(*object)) {
                *copies.entry((*from, *object)).or_default() += 1;
            }
        }
        let most = copies.values().max().copied().unwrap_or(0);
        assert!(most <= COPIES_AT_ONCE, "seed {}: {copies:?}", self.seed);
        for (worker, node) in &self.nodes {
            let (used, booked) = (self.disk.bytes(*worker), node.spilled_bytes());
            assert!(
                used <= booked && booked <= spill_limit_bytes(self.kinds),
                "{worker} has {used} of {booked} bytes on disk"
            );
        }
    }

    /// Nothing is left when nobody holds anything.
    pub(crate) fn check_empty(&self) {
        for (worker, node) in &self.nodes {
            let tasks: Vec<_> = node.tasks(None).collect();
            assert!(tasks.is_empty(), "seed {}: {worker} has {tasks:?}", self.seed);
            let objects: Vec<_> = node.objects(None).collect();
            assert!(objects.is_empty(), "seed {}: {worker} has {objects:?}", self.seed);
            assert_eq!(node.spilled_bytes(), 0, "seed {}: {worker}", self.seed);
            assert_eq!(node.spreads(None), 0, "seed {}: {worker}", self.seed);
        }
        assert_eq!(self.disk.files(), 0, "seed {}: {:?}", self.seed, self.disk);
        assert!(self.coordinator.groups.is_empty(), "seed {}: {:?}", self.seed, self.coordinator.groups);
    }

    /// The job ends: every process and lease with it.
    pub(crate) fn end_job(&mut self) {
        self.coordinator.over = true;
        for worker in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.coordinator.tell(worker, Event::JobGone { job: JOB });
        }
        self.settle();
        for (worker, node) in &self.nodes {
            assert_eq!(node.executors(None).count(), 0, "seed {}: {worker}", self.seed);
        }
        assert!(self.processes.is_empty(), "seed {}: {:?}", self.seed, self.processes.keys());
        assert!(self.coordinator.leases.is_empty(), "seed {}: {:?}", self.seed, self.coordinator.leases);
    }

    fn picture(&self) -> String {
        let mut text = String::new();
        for (worker, node) in &self.nodes {
            text += &format!(
                "{worker}: tasks {:#?}\nactors {:#?}\nexecutors {:#?}\n",
                node.tasks(None).collect::<Vec<_>>(),
                node.actors(None).collect::<Vec<_>>(),
                node.executors(None).collect::<Vec<_>>()
            );
            let pending: Vec<_> = node.objects(None).filter(|object| object.bytes == 0).collect();
            text += &format!("objects {pending:?}\n");
        }
        for (key, process) in &self.processes {
            text += &format!("{key:?}: {:?}\n", process.frame);
        }
        text += &format!("{:?}\n{}", self.coordinator, object_owner(ObjectId(0)));
        text
    }
}
