//! What the tables of a job hold is what lives: of what has come and gone nothing stays.

use tandem_actor_protocol::call::{ActorOptions, ActorSpec, TaskOptions, TaskSpec};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::placement::{BundleId, PlacementGroup, Strategy};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{
    ActorId, CallId, ExecutorId, JobId, ObjectId, PROTOCOL, PlacementGroupId, ProcessNumber, WorkerId,
};

use crate::job::Job;
use crate::{Action, DriverWork, Event, Found, GroupNews, LeaseGrant, Node, NodeConfig, Timestamp};

const WORKER: WorkerId = WorkerId(1);
const JOB: JobId = JobId(1);
const DRIVER: ExecutorId = ExecutorId(1);

/// A node whose processes end each task at once.
struct Bench {
    node: Node,
    now: u64,
    made: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { node: Node::new(NodeConfig::new(WORKER, "here")), now: 0, made: 0 };
        bench.feed(Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        bench
    }

    fn feed(&mut self, event: Event) {
        for action in self.node.handle(Timestamp::from_ms(self.now), event) {
            match action {
                Action::StartExecutor { executor, .. } => {
                    let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                    self.say(executor, ToNode::Hello(hello));
                }
                Action::Send { executor, message: ToExecutor::Run(run) } => {
                    let outcome = Ok(vec![Value::inline(Format::Bytes, &b"1"[..])]);
                    self.say(executor, ToNode::Done { call: run.call, attempt: run.attempt, outcome });
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, executor: ExecutorId, message: ToNode) {
        self.feed(Event::FromExecutor { executor, message });
    }

    fn drops(&mut self, object: ObjectId) {
        self.say(DRIVER, ToNode::Release(vec![object]));
    }

    fn next_id(&mut self) -> ObjectId {
        self.made += 1;
        ProcessNumber(1).object(WORKER, self.made)
    }

    fn job(&self) -> &Job {
        &self.node.jobs[&JOB]
    }

    /// A task runs in a placement group, which is given back then.
    fn use_group(&mut self, lease: u64) -> PlacementGroupId {
        let (group, call) = (PlacementGroupId(self.next_id().0), CallId(self.next_id().0));
        let (name, bundles, bundle) = (String::new(), vec![Shape::one_cpu()], BundleId { group, index: 0 });
        let spec = PlacementGroup { group, name, strategy: Strategy::Pack, bundles, timeout_ms: 0 };
        self.say(DRIVER, ToNode::CreateGroup(spec));
        self.feed(Event::GroupChanged { job: JOB, group, news: GroupNews::Reserved });
        let (function, options) = ("step".to_owned(), Some(Box::new(TaskOptions::default())));
        let task = TaskSpec { call, function, args: Vec::new(), returns: 1, parent: None, options };
        self.say(DRIVER, ToNode::SubmitIn { task, bundle });
        self.feed(Event::LeaseGranted(LeaseGrant {
            lease,
            job: JOB,
            owner: WORKER,
            owner_address: String::new(),
            host: WORKER,
            host_address: String::new(),
            shape: Shape::one_cpu(),
            bundle: Some(bundle),
        }));
        assert!(self.node.objects(Some(JOB)).any(|view| view.call == Some(call) && view.local), "it has run");
        self.drops(call.object(0));
        self.drops(group.object());
        self.feed(Event::LeaseRevoked { lease });
        for _ in 0..3 {
            self.now += 1_000;
            self.feed(Event::Tick);
        }
        group
    }
}

#[test]
fn of_placement_groups_that_are_gone_nothing_stays() {
    let mut bench = Bench::new();
    for lease in 1..=20 {
        let group = bench.use_group(lease);
        assert_eq!(bench.job().shapes.in_group(group).count(), 0, "round {lease}");
    }
    let job = bench.job();
    let of_classes: usize = job.classes.iter().map(|class| class.groups.len()).sum();
    assert_eq!((job.queues.len(), job.groups.len(), of_classes, job.shape_groups.len()), (2, 1, 0, 0));
}

#[test]
fn of_detached_actors_that_nobody_here_knows_nothing_stays() {
    let mut bench = Bench::new();
    for known_first in [true, false] {
        let actor = ActorId(bench.next_id().0);
        let (name, namespace) = ("stock".to_owned(), "shop".to_owned());
        let options = ActorOptions { name, namespace, detached: true, ..ActorOptions::default() };
        let spec = ActorSpec { actor, class: "Stock".to_owned(), args: Vec::new(), parent: None, options };
        bench.say(DRIVER, ToNode::Spawn(spec));
        let there = ProcessNumber(1).object(WorkerId(2), 1);
        let found = Found { actor: ActorId(there.0), class: "Stock".to_owned(), owner_address: "there:1".to_owned() };
        let detached = Event::Detached { job: JOB, actor, outcome: Ok(found) };
        let created = actor.creation().object(0);
        if known_first {
            bench.feed(detached);
            assert_eq!(bench.job().proxies.len(), 1, "the driver has a handle of it");
            bench.drops(created);
        } else {
            bench.drops(created);
            assert_eq!(bench.job().proxies.len(), 1, "its calls may wait for it");
            bench.feed(detached);
        }
        assert!(bench.job().proxies.is_empty());
    }
}
