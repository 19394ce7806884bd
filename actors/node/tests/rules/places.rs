//! Tasks of stages that have GPUs: what they call runs in their places, with these GPUs, and they are given back when nothing uses them.

use std::collections::VecDeque;

use tandem_actor_protocol::call::TaskSpec;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::resources::{GPUS, Shape};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{CallId, ExecutorId, JobId, Location, PROTOCOL, ProcessNumber, SpaceLease};
use tandem_node::{Action, Event, ExitCause, LeaseGrant, Node, NodeConfig, Timestamp};

use crate::bench::{THERE, WORKER};

const JOB: JobId = JobId(5);
const OTHER: JobId = JobId(6);

/// A node with two GPUs, whose processes start at once.
struct Stages {
    node: Node,
    now: u64,
    /// Processes and the GPUs that each sees.
    started: Vec<(ExecutorId, Vec<u32>)>,
    runs: VecDeque<(ExecutorId, CallId)>,
    free: Vec<u64>,
    stopped: Vec<ExecutorId>,
    rooms: Vec<SpaceLease>,
    returned: Vec<u64>,
}

impl Stages {
    fn new() -> Self {
        let config = NodeConfig { gpus: 2, ..NodeConfig::new(WORKER, "here") };
        Self {
            node: Node::new(config),
            now: 0,
            started: Vec::new(),
            runs: VecDeque::new(),
            free: Vec::new(),
            stopped: Vec::new(),
            rooms: Vec::new(),
            returned: Vec::new(),
        }
    }

    fn feed(&mut self, event: Event) {
        self.now += 1;
        for action in self.node.handle(Timestamp::from_ms(self.now), event) {
            match action {
                Action::StartExecutor { executor, needs, .. } => {
                    self.started.push((executor, needs.gpus));
                    let hello = Hello { protocol: PROTOCOL, version: String::new(), pid: 1, functions: Vec::new() };
                    self.feed(Event::FromExecutor { executor, message: ToNode::Hello(hello) });
                }
                Action::Send { executor, message: ToExecutor::Run(run) } => self.runs.push_back((executor, run.call)),
                Action::Send { message: ToExecutor::Space(room), .. } => self.rooms.extend(room),
                Action::ReturnLease { lease } => self.returned.push(lease),
                Action::PlaceFree { ticket } => self.free.push(ticket),
                Action::StopExecutor { executor, .. } => self.stopped.push(executor),
                _ => {}
            }
        }
    }

    fn take(&mut self, job: JobId, ticket: u64, gpus_milli: u64) {
        self.feed(Event::PlaceWanted { ticket, job, gpus_milli });
    }

    fn leave(&mut self, job: JobId, ticket: u64) {
        self.feed(Event::PlaceDropped { ticket, job });
    }

    fn call(&mut self, job: JobId, ticket: u64, place: Option<u64>) {
        let function = "embed".to_owned();
        self.feed(Event::FunctionWanted { ticket, job, place, function, args: Vec::new(), returns: 1 });
    }

    fn done(&mut self, (executor, call): (ExecutorId, CallId)) {
        let outcome = Ok(vec![Value::inline(Format::Bytes, &b"1"[..])]);
        self.feed(Event::FromExecutor { executor, message: ToNode::Done { call, attempt: 0, outcome } });
    }

    /// A lease with so much of GPUs, for tasks of another worker.
    fn grant(&mut self, lease: u64, gpus_milli: u64) {
        let shape = Shape { milli: [(GPUS.to_owned(), gpus_milli)].into(), ..Shape::nothing() };
        self.feed(Event::LeaseGranted(LeaseGrant {
            lease,
            job: OTHER,
            owner: THERE,
            owner_address: String::new(),
            host: WORKER,
            host_address: String::new(),
            shape,
            bundle: None,
        }));
    }

    /// The other worker has a task run on its lease.
    fn run_on(&mut self, lease: u64) -> CallId {
        let call = CallId(ProcessNumber(1).object(THERE, lease).0);
        let (function, args) = ("train".to_owned(), Vec::new());
        let task = TaskSpec { call, function, args, returns: 1, parent: None, options: None };
        let body = PeerBody::Run { lease, task, attempt: 0, resolved: Vec::new() };
        self.feed(Event::FromPeer { worker: THERE, message: PeerMessage { job: OTHER, body } });
        call
    }

    /// A call ends with a value that is too large for a message.
    fn done_with_much(&mut self, (executor, call): (ExecutorId, CallId)) {
        let bytes = 1 << 20;
        self.feed(Event::FromExecutor { executor, message: ToNode::NeedSpace { bytes } });
        let SpaceLease { extent, offset, .. } = self.rooms.pop().expect("room");
        let object = ProcessNumber(1).object(WORKER, 7);
        let body = Body::Shared { format: Format::Bytes, object, location: Location { extent, offset, length: bytes } };
        let outcome = Ok(vec![Value { body, refs: Vec::new() }]);
        self.feed(Event::FromExecutor { executor, message: ToNode::Done { call, attempt: 0, outcome } });
    }

    fn gpus_of(&self, executor: ExecutorId) -> &[u32] {
        let found = self.started.iter().find(|(known, _)| *known == executor);
        found.map_or(&[], |(_, gpus)| gpus)
    }

    fn run(&mut self) -> (ExecutorId, CallId) {
        self.runs.pop_front().expect("a call was given to a process")
    }
}

#[test]
fn calls_see_the_gpus_of_their_task_and_others_see_none() {
    let mut stages = Stages::new();
    stages.take(JOB, 1, 500);
    stages.take(OTHER, 2, 500);
    stages.take(JOB, 3, 1_000);
    for (job, ticket, place, gpus) in
        [(JOB, 11, Some(1), &[0][..]), (OTHER, 12, Some(2), &[0]), (JOB, 13, Some(3), &[1]), (JOB, 14, None, &[])]
    {
        stages.call(job, ticket, place);
        let (executor, _) = stages.run();
        assert_eq!(stages.gpus_of(executor), gpus);
    }
}

#[test]
fn calls_of_one_place_use_one_process_and_it_is_free_when_they_have_ended() {
    let mut stages = Stages::new();
    stages.take(JOB, 1, 1_000);
    stages.call(JOB, 11, Some(1));
    stages.call(JOB, 12, Some(1));
    let first = stages.run();
    assert!(stages.runs.is_empty(), "the second waits for the first");
    stages.done(first);
    let second = stages.run();
    assert_eq!((first.0, stages.started.len()), (second.0, 1));
    stages.leave(JOB, 1);
    assert!(stages.free.is_empty(), "the second call runs");
    stages.call(JOB, 13, Some(1));
    assert!(stages.runs.is_empty(), "nothing more is called in it");
    stages.done(second);
    assert_eq!(stages.free, [1]);
    stages.take(JOB, 2, 1_000);
    stages.call(JOB, 14, Some(2));
    assert_eq!(stages.run().0, first.0, "the process, which has the model, is used again");
}

#[test]
fn each_place_has_one_call_at_a_time_whatever_others_have() {
    let mut stages = Stages::new();
    stages.take(JOB, 1, 0);
    stages.take(JOB, 2, 0);
    stages.call(JOB, 11, Some(1));
    stages.call(JOB, 12, Some(1));
    stages.call(JOB, 13, None);
    let running: Vec<_> = stages.runs.drain(..).collect();
    let processes: std::collections::BTreeSet<_> = running.iter().map(|(executor, _)| *executor).collect();
    assert_eq!((running.len(), processes.len()), (2, 2), "the second waits for the first, though a place is free");
    assert!(processes.iter().all(|executor| stages.gpus_of(*executor).is_empty()));
}

#[test]
fn gpus_are_not_given_to_a_lease_while_a_call_that_nobody_waits_for_still_runs() {
    let mut stages = Stages::new();
    stages.take(JOB, 1, 2_000);
    stages.call(JOB, 11, Some(1));
    let (executor, _) = stages.run();
    assert_eq!(stages.gpus_of(executor), [0, 1]);
    stages.feed(Event::FunctionCancelled { ticket: 11 });
    stages.leave(JOB, 1);
    assert!(stages.free.is_empty());
    stages.now += 60_000;
    stages.feed(Event::Tick);
    assert_eq!(stages.stopped, [executor], "it does not end by itself");
    assert!(stages.free.is_empty());
    stages.feed(Event::ExecutorGone { executor, cause: ExitCause::Asked });
    assert_eq!(stages.free, [1]);
    stages.grant(7, 2_000);
    stages.take(JOB, 2, 1_000);
    stages.call(JOB, 12, Some(2));
    let (executor, _) = stages.run();
    assert!(stages.gpus_of(executor).is_empty(), "the lease has all of them");
}

#[test]
fn places_are_free_when_their_job_is_over() {
    let mut stages = Stages::new();
    stages.take(JOB, 1, 1_000);
    stages.call(JOB, 11, Some(1));
    let (executor, _) = stages.run();
    stages.feed(Event::JobGone { job: JOB });
    stages.leave(JOB, 1);
    assert!(stages.free.is_empty(), "its process is not gone");
    stages.feed(Event::ExecutorGone { executor, cause: ExitCause::Asked });
    assert_eq!(stages.free, [1]);
    stages.leave(JOB, 1);
    assert_eq!(stages.free, [1, 1], "nothing is left of it");
}

#[test]
fn results_are_kept_as_long_as_somebody_may_read_them() {
    let (cancelled, dropped) = (Event::FunctionCancelled { ticket: 11 }, Event::SpaceDropped { ticket: 11 });
    for (before, after) in [
        (None, vec![dropped.clone()]),
        (None, vec![cancelled.clone(), dropped.clone()]),
        (Some(cancelled), vec![dropped]),
    ] {
        let mut stages = Stages::new();
        stages.call(JOB, 11, None);
        let run = stages.run();
        let is_wanted = before.is_none();
        before.into_iter().for_each(|event| stages.feed(event));
        stages.done_with_much(run);
        assert_eq!(stages.node.object_count(Some(JOB)), usize::from(is_wanted));
        after.iter().for_each(|event| stages.feed(event.clone()));
        assert_eq!(stages.node.object_count(Some(JOB)), 0, "{after:?}");
    }
}

#[test]
fn a_lease_waits_until_a_gpu_has_so_much_free() {
    let mut stages = Stages::new();
    (1..=4).for_each(|lease| stages.grant(lease, 600));
    let calls = [1, 2, 3].map(|lease| stages.run_on(lease));
    let [first, second] = [stages.run(), stages.run()];
    assert_eq!([first.1, second.1], [calls[0], calls[1]]);
    assert_eq!([stages.gpus_of(first.0), stages.gpus_of(second.0)], [&[0], &[1]]);
    assert!(stages.runs.is_empty(), "no GPU has so much free");
    stages.feed(Event::LeaseRevoked { lease: 4 });
    assert_eq!(stages.returned, [4], "it never had any");
    stages.done(second);
    assert!(stages.runs.is_empty());
    stages.feed(Event::LeaseRevoked { lease: 2 });
    let third = stages.run();
    assert_eq!((third.1, stages.gpus_of(third.0)), (calls[2], &[1][..]));
}
