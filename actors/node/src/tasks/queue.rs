//! The tasks of one shape that wait for a lease, and the leases on other workers that this worker has for them. Those in a bundle
//! of a placement group are apart from all others: their leases are parts of what the bundle has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use tandem_actor_protocol::placement::BundleId;
use tandem_actor_protocol::resources::Shape;
use tandem_actor_protocol::{ActorId, CallId, PlacementGroupId, WorkerId};

use super::ShapeId;
use crate::timers::Timestamp;

/// The shapes of a job by number.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    ids: BTreeMap<Shape, ShapeId>,
    in_bundles: BTreeMap<BundleId, BTreeMap<Shape, ShapeId>>,
    count: u32,
    /// Numbers below that no shape has.
    vacant: Vec<ShapeId>,
}

/// What waits for leases of one shape.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) shape: Shape,
    /// Whose leases are to be parts of this bundle.
    pub(crate) bundle: Option<BundleId>,
    /// In order. Some may not be queued any more.
    pub(crate) waiting: VecDeque<CallId>,
    /// How many of them are.
    pub(crate) queued: usize,
    /// Tasks of this worker that have the shape, those included that are kept as lineage.
    pub(crate) tasks: usize,
    /// Leases on other workers.
    pub(crate) leases: BTreeMap<u64, RemoteLease>,
    /// Those that take tasks, by how many they have.
    pub(crate) by_load: BTreeSet<(u32, u64)>,
    /// Tasks that are at other workers, on leases that are not revoked.
    pub(crate) sent: usize,
    /// Tasks of this worker that are to run here, or run and do not wait.
    pub(crate) here: usize,
    /// Actors that have or want a lease.
    pub(crate) actors: usize,
    /// Actors that want one.
    pub(crate) starts: VecDeque<ActorId>,
    /// What the coordinator was told.
    pub(crate) demanded: u32,
    /// It is looked at again by a timer.
    pub(crate) demand_timer: bool,
}

/// A lease that this worker has on another.
#[derive(Debug)]
pub(crate) struct RemoteLease {
    pub(crate) host: WorkerId,
    /// Tasks that were sent for it and have not come back.
    pub(crate) sent: u32,
    /// Since when it has none.
    pub(crate) idle_since: Timestamp,
    /// It is looked at again by a timer.
    pub(crate) timer: bool,
    pub(crate) use_: LeaseUse,
}

/// What a lease on another worker may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseUse {
    Tasks,
    Actor(ActorId),
    /// By its actor, and by nothing more afterwards: the coordinator wants it back.
    ActorRevoked(ActorId),
    /// Nothing more: the coordinator wants it back.
    Revoked,
}

impl Shapes {
    /// The number of a shape, and whether it is new.
    pub(crate) fn id(&mut self, shape: &Shape, bundle: Option<BundleId>) -> (ShapeId, bool) {
        if let Some(id) = self.find(shape, bundle) {
            return (id, false);
        }
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.count += 1;
            ShapeId(self.count - 1)
        });
        let ids = match bundle {
            Some(bundle) => self.in_bundles.entry(bundle).or_default(),
            None => &mut self.ids,
        };
        ids.insert(shape.clone(), id);
        (id, true)
    }

    /// The number of a shape, if something has it.
    pub(crate) fn find(&self, shape: &Shape, bundle: Option<BundleId>) -> Option<ShapeId> {
        let ids = match bundle {
            Some(bundle) => self.in_bundles.get(&bundle)?,
            None => &self.ids,
        };
        ids.get(shape).copied()
    }

    /// Nothing has a shape in a bundle any more.
    pub(crate) fn forget(&mut self, shape: &Shape, bundle: BundleId) {
        let Some(ids) = self.in_bundles.get_mut(&bundle) else { return };
        self.vacant.extend(ids.remove(shape));
        if ids.is_empty() {
            self.in_bundles.remove(&bundle);
        }
    }

    /// The shapes that something has in a placement group.
    pub(crate) fn in_group(&self, group: PlacementGroupId) -> impl Iterator<Item = ShapeId> {
        let bundles = BundleId { group, index: 0 }..=BundleId { group, index: u32::MAX };
        self.in_bundles.range(bundles).flat_map(|(_, ids)| ids.values().copied())
    }
}

impl Queue {
    /// In place of that of a shape that nothing has.
    pub(crate) fn vacant() -> Self {
        Self::new(Shape::nothing(), None)
    }

    pub(crate) fn new(shape: Shape, bundle: Option<BundleId>) -> Self {
        Self {
            shape,
            bundle,
            waiting: VecDeque::new(),
            queued: 0,
            tasks: 0,
            leases: BTreeMap::new(),
            by_load: BTreeSet::new(),
            sent: 0,
            here: 0,
            actors: 0,
            starts: VecDeque::new(),
            demanded: 0,
            demand_timer: false,
        }
    }

    /// Whether nothing has the shape, and nobody was told of it.
    pub(crate) fn is_unused(&self) -> bool {
        self.tasks == 0 && self.actors == 0 && self.leases.is_empty() && self.demanded == 0 && !self.demand_timer
    }

    pub(crate) fn push(&mut self, call: CallId, first: bool) {
        self.queued += 1;
        if first {
            self.waiting.push_front(call);
        } else {
            self.waiting.push_back(call);
        }
    }

    /// One that waits here is not queued any more, wherever it is.
    pub(crate) fn forget_one(&mut self) {
        self.queued = self.queued.saturating_sub(1);
        if self.queued == 0 {
            self.waiting.clear();
        }
    }

    pub(crate) fn add_lease(&mut self, lease: u64, host: WorkerId, now: Timestamp) {
        self.leases.insert(lease, RemoteLease { host, sent: 0, idle_since: now, timer: false, use_: LeaseUse::Tasks });
        self.by_load.insert((0, lease));
    }

    /// A task was sent for a lease.
    pub(crate) fn sent_to(&mut self, lease: u64) {
        self.sent += 1;
        if let Some(entry) = self.leases.get_mut(&lease) {
            let loaded = self.by_load.remove(&(entry.sent, lease));
            entry.sent += 1;
            if loaded {
                self.by_load.insert((entry.sent, lease));
            }
        }
    }

    /// A task that was sent for a lease is not there any more.
    pub(crate) fn back_from(&mut self, lease: u64, now: Timestamp) {
        let Some(entry) = self.leases.get_mut(&lease) else { return };
        if entry.use_ != LeaseUse::Revoked {
            self.sent = self.sent.saturating_sub(1);
        }
        let loaded = self.by_load.remove(&(entry.sent, lease));
        entry.sent = entry.sent.saturating_sub(1);
        entry.idle_since = now;
        if loaded {
            self.by_load.insert((entry.sent, lease));
        } else if entry.use_ == LeaseUse::Revoked && entry.sent == 0 {
            self.leases.remove(&lease);
        }
    }

    /// Nothing more is to be sent for a lease. Returns whether an actor keeps it until that is gone.
    pub(crate) fn revoke(&mut self, lease: u64) -> bool {
        let Some(entry) = self.leases.get_mut(&lease) else { return false };
        self.by_load.remove(&(entry.sent, lease));
        match entry.use_ {
            LeaseUse::Actor(actor) | LeaseUse::ActorRevoked(actor) => entry.use_ = LeaseUse::ActorRevoked(actor),
            LeaseUse::Tasks | LeaseUse::Revoked if entry.sent == 0 => _ = self.leases.remove(&lease),
            LeaseUse::Tasks => {
                entry.use_ = LeaseUse::Revoked;
                self.sent = self.sent.saturating_sub(entry.sent as usize);
            }
            LeaseUse::Revoked => {}
        }
        self.leases.get(&lease).is_some_and(|entry| matches!(entry.use_, LeaseUse::ActorRevoked(_)))
    }

    /// A worker is lost, with the leases that were there.
    pub(crate) fn lose(&mut self, host: WorkerId) -> Vec<u64> {
        let there = self.leases.iter().filter(|(_, entry)| entry.host == host);
        let gone: Vec<u64> = there.map(|(lease, _)| *lease).collect();
        for lease in &gone {
            let Some(entry) = self.leases.remove(lease) else { continue };
            self.by_load.remove(&(entry.sent, *lease));
            if entry.use_ != LeaseUse::Revoked {
                self.sent = self.sent.saturating_sub(entry.sent as usize);
            }
        }
        gone
    }

    /// The actor of a lease is gone. Returns whether tasks may use it now: else it is gone too.
    pub(crate) fn take_from_actor(&mut self, lease: u64, now: Timestamp) -> bool {
        let Some(entry) = self.leases.get_mut(&lease) else { return false };
        match entry.use_ {
            LeaseUse::Actor(_) => {
                entry.use_ = LeaseUse::Tasks;
                entry.idle_since = now;
                self.by_load.insert((entry.sent, lease));
                true
            }
            LeaseUse::ActorRevoked(_) => {
                self.leases.remove(&lease);
                false
            }
            LeaseUse::Tasks => true,
            LeaseUse::Revoked => false,
        }
    }

    /// A lease becomes that of an actor.
    pub(crate) fn give_to_actor(&mut self, lease: u64, actor: ActorId) {
        if let Some(entry) = self.leases.get_mut(&lease) {
            self.by_load.remove(&(entry.sent, lease));
            entry.use_ = LeaseUse::Actor(actor);
        }
    }
}
