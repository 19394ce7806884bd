//! Everything that this worker knows of one job. Owned by the node; what an event changes is first written down, then settled: freed,
//! told, and put to work, until nothing is left to do.

mod circles;
mod deadlock;
mod end;
mod executor_messages;
mod functions;
mod leave;
mod peer_messages;
mod places;
mod remember;
mod seen;
mod settle;
mod timers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, ExecutorId, ExtentId, JobId, ObjectId, PlacementGroupId, WorkerId};
use tandem_arena::Allocator;

use crate::actors::{Call, Coming, EarlyStart, HostedActor, HostedCall, LightProcess, OwnedActor, Route};
use crate::config::NodeConfig;
use crate::executors::{Class, Driver, Executor};
use crate::host::{EndedLeases, Group, GroupId, HostLease, Hosted, PeerRun};
use crate::objects::{Fetch, Gathering, Object, Space, Spill, Spread, Sql, Ticket, Waiter};
use crate::outside::{OutsideCalls, Proxy, Returning};
use crate::peers::Peers;
use crate::placement::GroupState;
use crate::tasks::{Queue, ShapeId, Shapes, Streams, Task};

use circles::Searches;
use deadlock::Stuck;
pub(crate) use functions::FunctionWanted;
use places::StagePlace;
pub(crate) use settle::Dirty;

/// One job on this worker.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) worker: WorkerId,
    pub(crate) life: Life,
    pub(crate) driver: Option<Driver>,
    pub(crate) peers: Peers,

    pub(crate) objects: FxHashMap<ObjectId, Object>,
    /// Who waits until an object is settled.
    pub(crate) waiters: FxHashMap<ObjectId, Vec<Waiter>>,
    pub(crate) fetches: FxHashMap<ObjectId, Fetch>,
    /// Large objects of this worker that others, or this one, copy now.
    pub(crate) spreads: BTreeMap<ObjectId, Spread>,
    pub(crate) arena: Allocator,
    /// The sizes of the extents of the arena.
    pub(crate) extents: FxHashMap<ExtentId, u64>,
    pub(crate) space: Space,
    pub(crate) spill: Spill,
    pub(crate) gathering: Gathering,
    pub(crate) tickets: BTreeMap<u64, Ticket>,
    pub(crate) sql: BTreeMap<u64, Sql>,
    pub(crate) next_sql: u64,

    pub(crate) tasks: FxHashMap<CallId, Box<Task>>,
    pub(crate) streams: Streams,
    /// Calls that were submitted by another call, behind that one, as long as they have not ended.
    pub(crate) children: BTreeSet<(CallId, CallId)>,
    pub(crate) names: FxHashSet<Arc<str>>,
    pub(crate) shapes: Shapes,
    /// By [`ShapeId`].
    pub(crate) queues: Vec<Queue>,
    /// Leases that this worker has on others.
    pub(crate) owned_leases: BTreeMap<u64, ShapeId>,
    /// Placement groups that processes of this worker made.
    pub(crate) placement_groups: FxHashMap<PlacementGroupId, GroupState>,

    pub(crate) hosted: FxHashMap<CallId, Hosted>,
    /// By [`GroupId`].
    pub(crate) groups: Vec<Group>,
    /// Those of them that are of no shape any more.
    pub(crate) vacant_groups: Vec<GroupId>,
    pub(crate) shape_groups: FxHashMap<ShapeId, Vec<GroupId>>,
    pub(crate) host_leases: BTreeMap<u64, HostLease>,
    pub(crate) ended_leases: EndedLeases,
    /// Of tasks of stages that have GPUs, by their tickets.
    pub(crate) stage_places: BTreeMap<u64, StagePlace>,
    /// Tasks that came before the grant of their lease.
    pub(crate) early: BTreeMap<u64, Vec<PeerRun>>,

    pub(crate) executors: FxHashMap<ExecutorId, Executor>,
    pub(crate) classes: Vec<Class>,
    /// Processes for tasks that are there or start.
    pub(crate) task_executors: usize,

    pub(crate) owned_actors: BTreeMap<ActorId, OwnedActor>,
    /// Those of them that are gone, the oldest one first.
    pub(crate) gone_actors: VecDeque<ActorId>,
    pub(crate) hosted_actors: BTreeMap<ActorId, HostedActor>,
    pub(crate) early_starts: BTreeMap<u64, Vec<EarlyStart>>,
    pub(crate) routes: BTreeMap<ActorId, Route>,
    pub(crate) calls: FxHashMap<CallId, Call>,
    pub(crate) hosted_calls: FxHashMap<CallId, HostedCall>,
    /// Checkpoints of actors of this worker that are not whole here yet, in their order.
    pub(crate) checkpoints_coming: BTreeMap<ActorId, VecDeque<Coming>>,
    /// Checkpoints of actors here that their owners have not kept yet, each with the calls that it covers and their attempts.
    pub(crate) checkpoints_sent: BTreeMap<(ActorId, u32), VecDeque<Vec<(CallId, u32)>>>,
    pub(crate) light: BTreeMap<ExecutorId, LightProcess>,
    pub(crate) stuck: Stuck,
    pub(crate) searches: Searches,

    /// What stands here for actors that are jobs of their own.
    pub(crate) proxies: BTreeMap<ActorId, Proxy>,
    /// Calls of other jobs of actors of this one.
    pub(crate) outside: OutsideCalls,
    /// Calls of actors of other jobs whose results are on their way here.
    pub(crate) returning: BTreeMap<CallId, Returning>,

    /// Objects that may not be held any more.
    pub(crate) freeing: Vec<ObjectId>,
    /// Objects that have a value now, or never will.
    pub(crate) settled: VecDeque<ObjectId>,
    pub(crate) dirty: Dirty,
}

/// Whether the job still runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Its processes are being ended.
    Ending,
}

impl Job {
    pub(crate) fn new(id: JobId, config: &NodeConfig) -> Self {
        let mut job = Self {
            id,
            worker: config.worker,
            life: Life::Running,
            driver: None,
            peers: Peers::new(config.worker, &config.address),
            objects: FxHashMap::default(),
            waiters: FxHashMap::default(),
            fetches: FxHashMap::default(),
            spreads: BTreeMap::new(),
            arena: Allocator::new(config.arena),
            extents: FxHashMap::default(),
            space: Space::default(),
            spill: Spill::default(),
            gathering: Gathering::default(),
            tickets: BTreeMap::new(),
            sql: BTreeMap::new(),
            next_sql: 0,
            tasks: FxHashMap::default(),
            streams: Streams::default(),
            children: BTreeSet::new(),
            names: FxHashSet::default(),
            shapes: Shapes::default(),
            queues: Vec::new(),
            owned_leases: BTreeMap::new(),
            placement_groups: FxHashMap::default(),
            hosted: FxHashMap::default(),
            groups: Vec::new(),
            vacant_groups: Vec::new(),
            shape_groups: FxHashMap::default(),
            host_leases: BTreeMap::new(),
            ended_leases: EndedLeases::default(),
            stage_places: BTreeMap::new(),
            early: BTreeMap::new(),
            executors: FxHashMap::default(),
            classes: Vec::new(),
            task_executors: 0,
            owned_actors: BTreeMap::new(),
            gone_actors: VecDeque::new(),
            hosted_actors: BTreeMap::new(),
            early_starts: BTreeMap::new(),
            routes: BTreeMap::new(),
            calls: FxHashMap::default(),
            hosted_calls: FxHashMap::default(),
            checkpoints_coming: BTreeMap::new(),
            checkpoints_sent: BTreeMap::new(),
            light: BTreeMap::new(),
            stuck: Stuck::default(),
            searches: Searches::default(),
            proxies: BTreeMap::new(),
            outside: OutsideCalls::default(),
            returning: BTreeMap::new(),
            freeing: Vec::new(),
            settled: VecDeque::new(),
            dirty: Dirty::default(),
        };
        // Number zero, what tasks take by default.
        job.shape_id(&Shape::one_cpu(), None);
        job
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life == Life::Running
    }
}
