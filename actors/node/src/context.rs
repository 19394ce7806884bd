//! What every decision may use: the time, the limits, what the jobs of a node share, and the list of what is to be done.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, JobId, ObjectId, ProcessNumber, WorkerId};

use crate::action::{Action, SpillFile};
use crate::config::NodeConfig;
use crate::history::History;
use crate::host::Gpus;
use crate::timers::{Timer, Timers, Timestamp};

/// What a handler works with.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a NodeConfig,
    pub(crate) out: Vec<Action>,
    pub(crate) shared: &'a mut Shared,
}

/// What the jobs of a node share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) timers: Timers,
    /// Of which job a process is.
    pub(crate) executors: FxHashMap<ExecutorId, JobId>,
    /// Of which job a lease is.
    pub(crate) leases: FxHashMap<u64, JobId>,
    /// Of which job a ticket of the shell is.
    pub(crate) tickets: FxHashMap<u64, JobId>,
    pub(crate) gpus: Gpus,
    pub(crate) history: History,
    /// Workers that are lost for good.
    pub(crate) lost: FxHashSet<WorkerId>,
    /// Actors of this worker that other jobs may call, and their jobs.
    pub(crate) public: FxHashMap<ActorId, JobId>,
    /// What jobs of this worker have said to each other.
    pub(crate) between: VecDeque<PeerMessage>,
    next_executor: u64,
    next_process: u32,
    next_object: u64,
    next_spill_file: u64,
    /// In files of all jobs.
    pub(crate) spilled_bytes: u64,
}

impl Shared {
    pub(crate) fn new(gpus: Gpus) -> Self {
        Self { gpus, ..Self::default() }
    }
}

impl Context<'_> {
    pub(crate) fn act(&mut self, action: Action) {
        self.out.push(action);
    }

    pub(crate) fn send(&mut self, executor: ExecutorId, message: ToExecutor) {
        self.out.push(Action::Send { executor, message });
    }

    /// The job of an actor of this worker that other jobs may call.
    pub(crate) fn public_job(&self, actor: ActorId) -> Option<JobId> {
        self.shared.public.get(&actor).copied()
    }

    /// Says something to a job of a worker, which may be this one, that is not about objects of the job that says it.
    pub(crate) fn tell_job(&mut self, worker: WorkerId, job: JobId, body: PeerBody) {
        let message = PeerMessage { job, body };
        if worker == self.config.worker {
            self.shared.between.push_back(message);
        } else if !self.shared.lost.contains(&worker) {
            self.out.push(Action::SendPeer { worker, message });
        }
    }

    pub(crate) fn timer(&mut self, after_ms: u64, job: JobId, timer: Timer) {
        self.shared.timers.set(self.now.after(after_ms), job, timer);
    }

    pub(crate) fn new_executor(&mut self, job: JobId) -> ExecutorId {
        self.shared.next_executor += 1;
        let executor = ExecutorId(self.shared.next_executor);
        self.shared.executors.insert(executor, job);
        executor
    }

    /// The number of a process that has said hello; none when there are no more. Zero is the node itself.
    pub(crate) fn new_process(&mut self) -> Option<ProcessNumber> {
        let next = self.shared.next_process.checked_add(1).filter(|next| *next <= ProcessNumber::MAX.0)?;
        self.shared.next_process = next;
        Some(ProcessNumber(next))
    }

    pub(crate) fn new_spill_file(&mut self) -> SpillFile {
        self.shared.next_spill_file += 1;
        SpillFile(self.shared.next_spill_file)
    }

    /// Ids in a row for objects that the node itself makes.
    pub(crate) fn new_objects(&mut self, count: u32) -> ObjectId {
        let first = self.shared.next_object;
        self.shared.next_object += u64::from(count.max(1));
        ProcessNumber(0).object(self.config.worker, first)
    }

    /// The id of a call that the node itself makes.
    pub(crate) fn new_call(&mut self, returns: u32) -> CallId {
        CallId(self.new_objects(returns).0)
    }
}
