//! One worker: what it is and has, what is placed and booked on it, and what of it is free.
//! Owned by the [`Workers`](super::workers::Workers), which keep their indices right when it changes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use tandem_proto::resources::GPUS;
use tandem_proto::{Epoch, JobId, StageId, WorkerId};

use crate::config::ClusterConfig;
use crate::contact::{Contact, Duty};
use crate::event::{WorkerInfo, WorkerUsage};
use crate::gpus::GpuShares;
use crate::needs::Needs;
use crate::report::AttemptId;
use crate::resources::{CPUS, Resources, SLOT_MILLI, Shape};
use crate::time::Timestamp;
use crate::views::{NodeState, NodeView};

/// An attempt that a worker was told to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) attempt: AttemptId,
    pub(crate) standing: Standing,
    /// When it was launched, cancelled, or last mentioned by the worker.
    pub(crate) seen: Timestamp,
    /// How many of the worker's slots it has: none if it is a driver.
    pub(crate) slots: u32,
    /// What it takes besides.
    pub(crate) needs: Option<Arc<Needs>>,
}

/// Whether an attempt that is placed is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its result counts.
    Wanted,
    /// The worker was told to end it.
    Cancelled,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) info: WorkerInfo,
    pub(crate) epoch: Epoch,
    pub(crate) duty: Duty,
    pub(crate) contact: Contact,
    pub(crate) joined: Timestamp,
    /// When it was last heard.
    pub(crate) heard: Timestamp,
    pub(crate) usage: WorkerUsage,
    /// Its queries hold so much of its memory that it takes no more, as long as something runs.
    pub(crate) full: bool,
    pub(crate) placed: Vec<Placed>,
    /// What leases and bundles take of it, and each of its GPUs.
    pub(crate) leased: Resources,
    pub(crate) leased_gpus: GpuShares,
    /// How many leases it hosts, those in bundles included.
    pub(crate) hosted: u32,
    /// Nothing of programs would be lost with it, as it said when it drained.
    pub(crate) may_leave: bool,
    /// How many tasks of each stage have their output here.
    pub(crate) held: BTreeMap<(JobId, StageId), u32>,
}

impl Worker {
    /// A worker that just registered.
    pub(crate) fn new(id: WorkerId, info: WorkerInfo, epoch: Epoch, contact: Contact, now: Timestamp) -> Self {
        Self {
            id,
            info,
            epoch,
            duty: Duty::Ready,
            contact,
            joined: now,
            heard: now,
            usage: WorkerUsage::default(),
            full: false,
            placed: Vec::new(),
            leased: Resources::default(),
            leased_gpus: GpuShares::default(),
            hosted: 0,
            may_leave: false,
            held: BTreeMap::new(),
        }
    }

    /// Slots it offers.
    pub(crate) fn free(&self) -> u32 {
        let slots = self.info.slots.saturating_sub(self.slots_used());
        slots.min(u32::try_from(self.free_cpus() / SLOT_MILLI).unwrap_or(u32::MAX))
    }

    /// Thousandths of processors it offers.
    pub(crate) fn free_cpus(&self) -> u64 {
        if !self.takes_work() || self.is_short() {
            return 0;
        }
        self.info.resources.amount(CPUS).saturating_sub(self.cpus_used())
    }

    /// What it offers besides processors, in thousandths.
    pub(crate) fn free_scarce(&self) -> impl Iterator<Item = (&String, u64)> {
        let booked = self.booked();
        let all = self.info.resources.milli.iter().filter(|(name, _)| self.takes_work() && *name != CPUS);
        all.map(move |(name, amount)| (name, amount.saturating_sub(booked.amount(name))))
    }

    /// All that it offers.
    pub(crate) fn room(&self) -> Resources {
        let mut room = self.info.resources.clone();
        room.subtract(&self.booked());
        let cpus = self.free_cpus().min(room.amount(CPUS));
        room.milli.insert(CPUS.to_owned(), cpus);
        room
    }

    /// Whether more is booked on it than it has.
    pub(crate) fn is_overbooked(&self) -> bool {
        !self.info.resources.has_room(&Resources::default(), &self.used())
    }

    /// Thousandths of processors that attempts and leases take.
    pub(crate) fn cpus_used(&self) -> u64 {
        u64::from(self.slots_used()) * SLOT_MILLI + self.booked().amount(CPUS)
    }

    /// Whether a lease of this shape can be booked now.
    pub(crate) fn has_room_for(&self, shape: &Shape) -> bool {
        let resources = || self.info.resources.has_room(&self.booked(), &shape.resources);
        let suits = self.takes_work() && shape.accepts(&self.info.labels) && shape.cpus() <= self.free_cpus();
        suits && resources() && self.shares_of_gpus(shape, 1) == 1
    }

    /// How many leases of this shape, at most, the GPUs have room for one by one.
    fn shares_of_gpus(&self, shape: &Shape, most: u32) -> u32 {
        let share = shape.resources.amount(GPUS);
        if share == 0 {
            return most;
        }
        let mut booked = self.shares_booked();
        let fits = |_: &u32| {
            booked.add(share);
            booked.fit(self.info.resources.amount(GPUS))
        };
        (0..most).take_while(fits).count() as u32
    }

    /// Shares of its GPUs that are booked.
    pub(crate) fn shares_booked(&self) -> GpuShares {
        let mut booked = self.leased_gpus.clone();
        let needs = self.placed.iter().filter_map(|placed| placed.needs.as_deref());
        needs.for_each(|needs| booked.add(needs.beyond.amount(GPUS)));
        booked
    }

    /// How many tasks with these needs it can start now.
    pub(crate) fn room_for_tasks(&self, needs: &Needs) -> u32 {
        if !self.has_room_for(&needs.shape) {
            return 0;
        }
        let room = self.room();
        let times = needs.shape.resources.milli.iter().map(|(name, amount)| room.amount(name) / (*amount).max(1));
        let fits = times.min().unwrap_or_default();
        self.shares_of_gpus(&needs.shape, self.free().min(u32::try_from(fits).unwrap_or(u32::MAX)))
    }

    /// Whether what has begun here can go on with a lease of this shape, even if the worker drains.
    pub(crate) fn can_go_on(&self, shape: &Shape) -> bool {
        let cpus = self.info.resources.amount(CPUS).saturating_sub(self.cpus_used());
        let resources = || self.info.resources.has_room(&self.booked(), &shape.resources);
        self.contact == Contact::Attached && shape.cpus() <= cpus && resources() && self.shares_of_gpus(shape, 1) == 1
    }

    /// Whether a lease of this shape could be booked if nothing else were.
    pub(crate) fn could_ever_host(&self, shape: &Shape) -> bool {
        let resources = || self.info.resources.has_room(&Resources::default(), &shape.resources);
        self.duty == Duty::Ready && shape.accepts(&self.info.labels) && resources()
    }

    /// Whether it may be given work now.
    pub(crate) fn takes_work(&self) -> bool {
        self.duty == Duty::Ready && self.contact == Contact::Attached
    }

    /// Drivers that it runs.
    pub(crate) fn drivers(&self) -> usize {
        self.placed.iter().filter(|placed| placed.slots == 0).count()
    }

    /// What leases and bundles take, and attempts besides their slots.
    fn booked(&self) -> Cow<'_, Resources> {
        let mut booked = Cow::Borrowed(&self.leased);
        for needs in self.placed.iter().filter_map(|placed| placed.needs.as_deref()) {
            booked.to_mut().add(&needs.beyond);
        }
        booked
    }

    /// What attempts and leases take.
    fn used(&self) -> Resources {
        let mut used = self.booked().into_owned();
        let slots = u64::from(self.slots_used()) * SLOT_MILLI;
        if slots > 0 {
            used.add(&Resources { milli: BTreeMap::from([(CPUS.to_owned(), slots)]), memory_bytes: 0 });
        }
        used
    }

    /// Slots that are taken by attempts and leases, for people.
    pub(crate) fn slots_taken(&self) -> u32 {
        u32::try_from(self.cpus_used().div_ceil(SLOT_MILLI)).unwrap_or(u32::MAX)
    }

    /// Slots that attempts take.
    pub(crate) fn slots_used(&self) -> u32 {
        self.placed.iter().map(|placed| placed.slots).sum()
    }

    /// Whether memory is all that keeps it from taking more tasks. What runs will free some.
    pub(crate) fn is_short(&self) -> bool {
        self.full && self.slots_used() > 0
    }

    /// When its contact must be looked at again, and its drain.
    pub(crate) fn deadline(&self, config: &ClusterConfig, now: Timestamp) -> Timestamp {
        let contact = match self.contact {
            Contact::Attached => self.heard.after_ms(config.suspect_after_ms),
            Contact::Silent => self.heard.after_ms(config.lost_after_ms),
            Contact::Broken { until } | Contact::Expected { until } => until,
        };
        match self.duty {
            Duty::Draining { since } => {
                let impatient = since.after_ms(config.drain_patience_ms);
                contact.min(impatient.max(now.after_ms(config.heartbeat_interval_ms)))
            }
            Duty::Ready | Duty::Leaving => contact,
        }
    }

    /// What is shown of it.
    pub(crate) fn view(&self) -> NodeView {
        NodeView {
            worker: self.id,
            info: self.info.clone(),
            state: self.view_state(),
            slots_used: self.slots_taken(),
            used: self.used(),
            leases: self.hosted,
            usage: self.usage,
            joined: self.joined,
        }
    }

    /// Where it stands, for people.
    pub(crate) fn view_state(&self) -> NodeState {
        match (self.contact, self.duty) {
            (Contact::Attached, Duty::Ready) => NodeState::Ready,
            (Contact::Attached, Duty::Draining { .. } | Duty::Leaving) => NodeState::Draining,
            (Contact::Silent | Contact::Broken { .. } | Contact::Expected { .. }, _) => NodeState::Suspect,
        }
    }
}
