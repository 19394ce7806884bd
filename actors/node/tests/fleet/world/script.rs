//! What a program does: its driver, or each of the parts that the driver submits as tasks, makes actors, calls them, keeps many tasks
//! submitted and reads their results in order, then ends its actors.

use tandem_actor_protocol::call::{ActorCall, ActorOptions, ActorSpec, Arg, TaskOptions, TaskSpec};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};
use tandem_actor_protocol::{ActorId, CallId, ObjectId, ProcessNumber, WorkerId};

use super::process::Said;

/// The name of the function that is a part of a program. All others only take time.
pub(crate) const PART: &str = "fleet::part";
const WORK: &str = "fleet::work";
/// Tasks that are submitted before the node has taken them, at most: they are in memory twice until then.
const LOT: u64 = 10_000;

/// How much a program does. All but `parts` is for each of its parts, or for the driver if it has none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    pub(crate) parts: u64,
    pub(crate) light_actors: u64,
    pub(crate) process_actors: u64,
    /// Of each actor.
    pub(crate) calls: u64,
    pub(crate) tasks: u64,
    /// Tasks that are submitted and not read, at most.
    pub(crate) ahead: u64,
    /// Tasks that are read at once.
    pub(crate) batch: u64,
    /// How long a task takes.
    pub(crate) work_us: u64,
    /// How long it might take; 0 is for ever.
    pub(crate) timeout_ms: u64,
}

/// The ids that one process makes.
#[derive(Debug)]
pub(crate) struct Ids {
    worker: WorkerId,
    process: ProcessNumber,
    next: u64,
}

impl Ids {
    pub(crate) fn new(worker: WorkerId, process: ProcessNumber) -> Self {
        Self { worker, process, next: 0 }
    }

    fn object(&self, number: u64) -> ObjectId {
        self.process.object(self.worker, number)
    }

    fn fresh(&mut self) -> ObjectId {
        self.next += 1;
        self.object(self.next - 1)
    }
}

/// Where a script stands.
#[derive(Debug, Clone, Copy)]
enum Phase {
    Spawn,
    Call,
    /// Of its tasks, so many were submitted, and those from this number on were not read.
    Tasks {
        submitted: u64,
        unread: u64,
    },
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Script {
    /// What its tasks and actors are submitted by.
    parent: Option<CallId>,
    /// It only submits the parts.
    drives: bool,
    phase: Phase,
    actors: Vec<ActorId>,
    awaited: u64,
    /// What it lets go when all that is awaited is there.
    reads: Vec<ObjectId>,
}

impl Script {
    pub(crate) fn of_driver(load: &Load) -> Self {
        Self { drives: load.parts > 0, ..Self::of(None) }
    }

    pub(crate) fn of_part(call: CallId) -> Self {
        Self::of(Some(call))
    }

    fn of(parent: Option<CallId>) -> Self {
        Self { parent, drives: false, phase: Phase::Spawn, actors: Vec::new(), awaited: 0, reads: Vec::new() }
    }

    /// A value has come. Returns whether it can go on.
    pub(crate) fn got(&mut self, said: &mut Said) -> bool {
        self.awaited -= 1;
        if self.awaited == 0 && !self.reads.is_empty() {
            said.messages.push(ToNode::Release(std::mem::take(&mut self.reads)));
        }
        self.awaited == 0
    }

    /// Does all it can without waiting. Returns whether that was all.
    pub(crate) fn go_on(&mut self, load: &Load, ids: &mut Ids, said: &mut Said) -> bool {
        while self.awaited == 0 && !said.goes_on {
            self.phase = match self.phase {
                Phase::Spawn => {
                    self.spawn(load, ids, said);
                    Phase::Call
                }
                Phase::Call => {
                    self.call(load, ids, said);
                    Phase::Tasks { submitted: 0, unread: ids.next }
                }
                Phase::Tasks { submitted, unread } => {
                    let (submitted, unread) = self.submit(load, ids, said, submitted, unread);
                    if self.awaited == 0 && !said.goes_on {
                        self.end(said);
                        return true;
                    }
                    Phase::Tasks { submitted, unread }
                }
            };
        }
        false
    }

    fn spawn(&mut self, load: &Load, ids: &mut Ids, said: &mut Said) {
        let count = if self.drives { 0 } else { load.light_actors + load.process_actors };
        for number in 0..count {
            let (created, light) = (ids.fresh(), number < load.light_actors);
            let actor = ActorId(created.0);
            let class = if light { "fleet::Light" } else { "fleet::Heavy" };
            let options = ActorOptions { light, ..ActorOptions::default() };
            let spec = ActorSpec { actor, class: class.to_owned(), args: vec![arg()], parent: self.parent, options };
            said.messages.push(ToNode::Spawn(spec));
            self.actors.push(actor);
        }
        let created = self.actors.iter().map(|actor| actor.creation().object(0)).collect();
        self.watch(created, said);
    }

    fn call(&mut self, load: &Load, ids: &mut Ids, said: &mut Said) {
        for actor in self.actors.iter().flat_map(|actor| (0..load.calls).map(|_| *actor)) {
            let object = ids.fresh();
            let (call, method) = (CallId(object.0), "fleet::touch".to_owned());
            let call = ActorCall { call, actor, method, args: vec![arg()], returns: 1, parent: self.parent };
            said.messages.push(ToNode::Call(call));
            self.reads.push(object);
        }
        self.watch(self.reads.clone(), said);
    }

    /// Submits what there may be, and reads the next ones. Returns where that leads.
    fn submit(&mut self, load: &Load, ids: &mut Ids, said: &mut Said, submitted: u64, unread: u64) -> (u64, u64) {
        let (tasks, ahead) = if self.drives { (load.parts, load.parts) } else { (load.tasks, load.ahead) };
        let wanted = tasks.saturating_sub(submitted).min(ahead - (ids.next - unread));
        let more = wanted.min(LOT);
        let (function, options) = match self.drives {
            true => (PART, Some(Box::new(TaskOptions { spread: true, ..TaskOptions::default() }))),
            false => (WORK, limited(load.timeout_ms)),
        };
        for _ in 0..more {
            let call = CallId(ids.fresh().0);
            let (function, options) = (function.to_owned(), options.clone());
            let task = TaskSpec { call, function, args: vec![arg()], returns: 1, parent: self.parent, options };
            said.messages.push(ToNode::Submit(task));
        }
        if wanted > more {
            said.goes_on = true;
            return (submitted + more, unread);
        }
        let next = ids.next.min(unread + load.batch);
        self.reads = (unread..next).map(|number| ids.object(number)).collect();
        self.watch(self.reads.clone(), said);
        (submitted + more, next)
    }

    fn watch(&mut self, objects: Vec<ObjectId>, said: &mut Said) {
        self.awaited = objects.len() as u64;
        if !objects.is_empty() {
            said.messages.push(ToNode::Watch { objects, fetch: true });
        }
    }

    fn end(&mut self, said: &mut Said) {
        for actor in std::mem::take(&mut self.actors) {
            said.messages.push(ToNode::Kill { actor, at_once: false });
            said.messages.push(ToNode::Release(vec![actor.creation().object(0)]));
        }
    }
}

fn limited(timeout_ms: u64) -> Option<Box<TaskOptions>> {
    (timeout_ms > 0).then(|| Box::new(TaskOptions { timeout_ms, ..TaskOptions::default() }))
}

/// What tasks and calls are given.
fn arg() -> Arg {
    Arg::Value(Value::inline(Format::Bytes, &b"12345678"[..]))
}
