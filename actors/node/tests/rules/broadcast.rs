//! One large object that the tasks of many workers read at about the same time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::call::{Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{CallId, ExecutorId, Location, ObjectId, PROTOCOL, ProcessNumber, SpaceLease, WorkerId};
use tandem_node::{Action, DriverWork, Event, LeaseGrant, Node, NodeConfig, Timestamp};

use crate::bench::{DRIVER, JOB, WORKER};
use crate::random::Random;

const OBJECT_BYTES: u64 = 8 << 20;
const COPIES_AT_ONCE: u32 = 2;

/// Some workers, the first with the driver, each other one with a place for a task.
struct Fleet {
    nodes: BTreeMap<WorkerId, Node>,
    now_ms: u64,
    /// What is on its way, in order from one to another.
    links: BTreeMap<(WorkerId, WorkerId), VecDeque<Event>>,
    copies: Vec<Copy>,
    /// Copies that were made, by who sent them.
    sent: BTreeMap<WorkerId, u64>,
    running: Vec<Running>,
    /// What processes were told.
    told: Vec<(WorkerId, ExecutorId, ToExecutor)>,
    object: ObjectId,
    calls: Vec<CallId>,
    made: u64,
    tickets: u64,
    /// Reads of a copy that was not there any more.
    gone: u64,
}

/// The object on its way from one worker to another.
#[derive(Debug, Clone, Copy)]
struct Copy {
    to: WorkerId,
    from: WorkerId,
    object: ObjectId,
}

#[derive(Debug)]
struct Running {
    worker: WorkerId,
    executor: ExecutorId,
    call: CallId,
    attempt: u32,
}

fn address(worker: WorkerId) -> String {
    format!("worker-{}:7000", worker.0)
}

impl Fleet {
    /// A driver that has done nothing, and so many other workers.
    fn new(others: u64) -> Self {
        let node = |worker: WorkerId| {
            let name = format!("worker-{}", worker.0);
            let config = NodeConfig { address: address(worker), ..NodeConfig::new(worker, name) };
            (worker, Node::new(NodeConfig { copies_at_once: COPIES_AT_ONCE, ..config }))
        };
        let mut fleet = Self {
            nodes: (1..=others + 1).map(|worker| node(WorkerId(worker))).collect(),
            now_ms: 0,
            links: BTreeMap::new(),
            copies: Vec::new(),
            sent: BTreeMap::new(),
            running: Vec::new(),
            told: Vec::new(),
            object: ObjectId(0),
            calls: Vec::new(),
            made: 0,
            tickets: 0,
            gone: 0,
        };
        fleet.feed(WORKER, Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        for worker in 2..=others + 1 {
            fleet.grant(worker, WorkerId(worker));
        }
        fleet
    }

    /// The driver has put the object, and submits a task for each other worker that reads it.
    fn with_readers(readers: u64) -> Self {
        let mut fleet = Self::new(readers);
        fleet.object = fleet.next_id();
        let value = fleet.build(WORKER, DRIVER);
        fleet.say(ToNode::Put { object: fleet.object, value });
        fleet.read(readers);
        fleet
    }

    /// The driver submits so many tasks that read the object.
    fn read(&mut self, readers: u64) {
        for _ in 0..readers {
            let options = TaskOptions { retries: 1_000, ..TaskOptions::default() };
            let call = self.submit(vec![Arg::Object(self.object)], options);
            self.calls.push(call);
        }
    }

    fn submit(&mut self, args: Vec<Arg>, options: TaskOptions) -> CallId {
        let call = CallId(self.next_id().0);
        let options = Some(Box::new(options));
        self.say(ToNode::Submit(TaskSpec { call, function: "f".into(), args, returns: 1, parent: None, options }));
        call
    }

    fn grant(&mut self, lease: u64, host: WorkerId) {
        let grant = LeaseGrant {
            lease,
            job: JOB,
            owner: WORKER,
            owner_address: address(WORKER),
            host,
            host_address: address(host),
            shape: Shape::one_cpu(),
            bundle: None,
        };
        self.feed(host, Event::LeaseGranted(grant.clone()));
        self.feed(WORKER, Event::LeaseGranted(grant));
    }

    fn next_id(&mut self) -> ObjectId {
        self.made += 1;
        ProcessNumber(1).object(WORKER, self.made)
    }

    /// A process builds a large value.
    fn build(&mut self, worker: WorkerId, executor: ExecutorId) -> Value {
        self.feed(worker, Event::FromExecutor { executor, message: ToNode::NeedSpace { bytes: OBJECT_BYTES } });
        let lease = self.told.iter().find_map(|told| match told {
            (at, to, ToExecutor::Space(Ok(lease))) if (*at, *to) == (worker, executor) => Some(*lease),
            _ => None,
        });
        let SpaceLease { extent, offset, .. } = lease.expect("room");
        let object = ProcessNumber(9).object(worker, 1);
        let location = Location { extent, offset, length: OBJECT_BYTES };
        Value { body: Body::Shared { format: Format::Bytes, object, location }, refs: Vec::new() }
    }

    fn say(&mut self, message: ToNode) {
        self.feed(WORKER, Event::FromExecutor { executor: DRIVER, message });
    }

    fn feed(&mut self, worker: WorkerId, event: Event) {
        let Some(node) = self.nodes.get_mut(&worker) else { return };
        for action in node.handle(Timestamp::from_ms(self.now_ms), event) {
            self.perform(worker, action);
        }
        let mut readers: BTreeMap<(WorkerId, ObjectId), u32> = BTreeMap::new();
        self.copies.iter().for_each(|copy| *readers.entry((copy.from, copy.object)).or_default() += 1);
        assert!(readers.values().all(|readers| *readers <= COPIES_AT_ONCE), "{readers:?}");
    }

    fn perform(&mut self, worker: WorkerId, action: Action) {
        match action {
            Action::StartExecutor { executor, .. } => {
                let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                self.feed(worker, Event::FromExecutor { executor, message: ToNode::Hello(hello) });
            }
            Action::Send { executor, message: ToExecutor::Run(run) } => {
                self.running.push(Running { worker, executor, call: run.call, attempt: run.attempt });
            }
            Action::Send { executor, message } => self.told.push((worker, executor, message)),
            Action::SendPeer { worker: to, message } if self.nodes.contains_key(&to) => {
                self.links.entry((worker, to)).or_default().push_back(Event::FromPeer { worker, message });
            }
            Action::Fetch { object, from, .. } => self.copies.push(Copy { to: worker, from, object }),
            _ => {}
        }
    }

    fn deliver(&mut self, link: (WorkerId, WorkerId)) {
        let event = self.links.get_mut(&link).and_then(VecDeque::pop_front).expect("something is on its way");
        self.feed(link.1, event);
    }

    fn busy_links(&self) -> Vec<(WorkerId, WorkerId)> {
        self.links.iter().filter(|(_, queue)| !queue.is_empty()).map(|(link, _)| *link).collect()
    }

    /// All messages arrive.
    fn settle(&mut self) {
        while let Some(link) = self.busy_links().first().copied() {
            self.deliver(link);
        }
    }

    /// A copy is read, if it is there.
    fn copy(&mut self, copy: Copy) {
        let Copy { to, from, object } = copy;
        self.tickets += 1;
        let ticket = self.tickets;
        let asked = Event::ReadWanted { ticket, job: JOB, object };
        let answers = self.nodes.get_mut(&from).map(|node| node.handle(Timestamp::from_ms(self.now_ms), asked));
        let is_there = |action: &Action| matches!(action, Action::ReadGiven { lent: Some(_), .. });
        let there = answers.as_deref().is_some_and(|actions| actions.iter().any(is_there));
        if there {
            *self.sent.entry(from).or_default() += 1;
            self.feed(from, Event::SpaceDropped { ticket });
        } else {
            self.gone += 1;
        }
        let outcome = if there { Ok(()) } else { Err("it is not there".to_owned()) };
        self.feed(to, Event::Fetched { job: JOB, object, outcome });
    }

    fn finish(&mut self, at: usize) {
        let running = self.running.swap_remove(at);
        self.finish_with(running, Value::inline(Format::Bytes, &b"1"[..]));
    }

    fn finish_with(&mut self, running: Running, value: Value) {
        let Running { worker, executor, call, attempt } = running;
        let outcome = Ok(vec![value]);
        self.feed(worker, Event::FromExecutor { executor, message: ToNode::Done { call, attempt, outcome } });
    }

    fn lose(&mut self, worker: WorkerId) {
        self.nodes.remove(&worker);
        self.links.retain(|(from, to), _| *from != worker && *to != worker);
        self.copies.retain(|copy| copy.to != worker);
        self.running.retain(|running| running.worker != worker);
        for other in self.nodes.keys().copied().collect::<Vec<_>>() {
            // It is heard of from the coordinator, in no order with what others say.
            self.links.entry((worker, other)).or_default().push_back(Event::PeerLost { worker });
        }
    }

    fn pass_time(&mut self) {
        self.now_ms += 1_000;
        for worker in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.feed(worker, Event::Tick);
        }
    }

    /// The driver wants the results of all that read.
    fn watch(&mut self) {
        let objects = self.calls.iter().map(|call| call.object(0)).collect();
        self.say(ToNode::Watch { objects, fetch: true });
    }

    /// The calls whose results the driver has got.
    fn results(&self) -> BTreeSet<ObjectId> {
        let result = |told: &(WorkerId, ExecutorId, ToExecutor)| match told {
            (WORKER, DRIVER, ToExecutor::Value { object, outcome }) => {
                assert!(outcome.is_ok(), "{object}: {outcome:?}");
                Some(*object)
            }
            _ => None,
        };
        self.told.iter().filter_map(result).collect()
    }

    /// The driver lets go of all, and then nothing is left anywhere.
    fn let_go(&mut self) {
        let objects = self.calls.iter().map(|call| call.object(0)).chain([self.object]).collect();
        self.say(ToNode::Release(objects));
        self.settle();
        for (worker, node) in &self.nodes {
            assert_eq!(node.objects(None).collect::<Vec<_>>(), [], "{worker}");
            assert_eq!(node.spreads(None), 0, "{worker}");
        }
    }
}

/// Rounds of copying until all have it, where all copies of a round take the same time; and how many the first one sends.
fn rounds(readers: u64) -> (u64, u64) {
    let mut fleet = Fleet::with_readers(readers);
    fleet.settle();
    let mut rounds = 0;
    while !fleet.copies.is_empty() {
        rounds += 1;
        // Turns that come of a round are for the next one.
        for copy in std::mem::take(&mut fleet.copies) {
            fleet.copy(copy);
        }
        fleet.settle();
    }
    assert_eq!((fleet.running.len() as u64, fleet.sent.values().sum::<u64>(), fleet.gone), (readers, readers, 0));
    while !fleet.running.is_empty() {
        fleet.finish(0);
    }
    fleet.settle();
    fleet.let_go();
    (rounds, fleet.sent[&WORKER])
}

#[test]
fn the_time_grows_with_the_logarithm_of_the_number_of_workers() {
    for (readers, expected) in [(1, 1), (2, 1), (3, 2), (8, 2), (20, 3), (26, 3), (80, 4), (242, 5)] {
        let (rounds, sent_by_first) = rounds(readers);
        assert_eq!(rounds, expected, "{readers} readers");
        assert!(
            sent_by_first <= rounds * u64::from(COPIES_AT_ONCE),
            "{readers} readers: {sent_by_first} from the first"
        );
    }
}

/// Messages come, copies are made, tasks end and workers are lost in any order.
fn in_any_order(seed: u64, losses: usize) -> u64 {
    let mut random = Random(seed);
    let mut fleet = Fleet::with_readers(12);
    fleet.watch();
    let (mut lost, mut steps, mut next_lease) = (0, 0, 100);
    while fleet.results().len() < fleet.calls.len() {
        steps += 1;
        assert!(steps < 50_000, "seed {seed}: {:?}, {:?}", fleet.copies, fleet.running);
        if lost < losses && random.chance(60) {
            lost += 1;
            let workers: Vec<WorkerId> = fleet.nodes.keys().copied().filter(|worker| *worker != WORKER).collect();
            fleet.lose(workers[random.below(workers.len() as u64) as usize]);
            next_lease += 1;
            let hosts: Vec<WorkerId> = fleet.nodes.keys().copied().filter(|worker| *worker != WORKER).collect();
            fleet.grant(next_lease, hosts[random.below(hosts.len() as u64) as usize]);
        }
        let links = fleet.busy_links();
        let choices = links.len() + fleet.copies.len() + fleet.running.len();
        if choices == 0 {
            fleet.pass_time();
            continue;
        }
        let choice = random.below(choices as u64) as usize;
        if let Some(link) = links.get(choice) {
            fleet.deliver(*link);
        } else if choice < links.len() + fleet.copies.len() {
            let copy = fleet.copies.swap_remove(choice - links.len());
            fleet.copy(copy);
        } else {
            // Its copy is given up with it, also while others are sent there.
            fleet.finish(choice - links.len() - fleet.copies.len());
        }
    }
    while !fleet.running.is_empty() || !fleet.copies.is_empty() {
        fleet.settle();
        fleet.copies.pop().into_iter().for_each(|copy| fleet.copy(copy));
        if !fleet.running.is_empty() {
            fleet.finish(0);
        }
    }
    fleet.settle();
    fleet.let_go();
    fleet.gone
}

#[test]
fn who_finds_no_copy_where_it_was_sent_gets_it_elsewhere() {
    let gone: u64 = (0..200).map(|seed| in_any_order(seed, 0)).sum();
    assert!(gone > 0, "none was given up before it was read");
}

#[test]
fn workers_are_lost_while_they_have_or_get_a_copy() {
    let gone: u64 = (0..200).map(|seed| in_any_order(seed, 5)).sum();
    assert!(gone > 0, "none was lost before it was read");
}

#[test]
fn the_first_holder_is_not_missed_while_there_are_copies() {
    let mut fleet = Fleet::new(12);
    let call = fleet.submit(Vec::new(), TaskOptions { retries: 0, ..TaskOptions::default() });
    fleet.object = call.object(0);
    fleet.settle();
    let maker = fleet.running.pop().expect("it runs");
    let first = maker.worker;
    let value = fleet.build(first, maker.executor);
    fleet.finish_with(maker, value);
    fleet.settle();
    // Some go to where it is, but not all.
    fleet.read(24);
    fleet.watch();
    fleet.settle();
    let copies = std::mem::take(&mut fleet.copies);
    assert!(!copies.is_empty() && copies.iter().all(|copy| copy.from == first), "{copies:?}");
    copies.into_iter().for_each(|copy| fleet.copy(copy));
    fleet.settle();
    fleet.lose(first);
    fleet.grant(100, WorkerId(2 + u64::from(first == WorkerId(2))));
    fleet.settle();
    // What made it does not run again, since it was to run once.
    while fleet.results().len() < fleet.calls.len() {
        assert!(!fleet.copies.is_empty() || !fleet.running.is_empty());
        fleet.copies.pop().into_iter().for_each(|copy| fleet.copy(copy));
        fleet.settle();
        assert!(fleet.running.iter().all(|running| running.call != call), "it was to run once");
        if !fleet.running.is_empty() && fleet.copies.is_empty() {
            fleet.finish(0);
            fleet.settle();
        }
    }
    fleet.let_go();
}
