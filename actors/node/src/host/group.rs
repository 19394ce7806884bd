//! The places of one kind that a job has on this worker: one per lease, whoever owns it. What a task gives up while it waits may be used by
//! any task of the job of that kind here, so that what it waits for can run. If there is none for a while, it is given back, so
//! that what it waits for can run on a place of another kind; when the task is to go on, a place here is asked for again.
//!
//! Invariant: no more run than there are places, those included that are to be given back.

use std::collections::{BTreeSet, VecDeque};

use tandem_actor_protocol::{ActorId, CallId, ExecutorId};

use crate::executors::ClassId;
use crate::tasks::ShapeId;

/// Places, and what waits for them.
#[derive(Debug)]
pub(crate) struct Group {
    /// None: functions of stages. They bring their places along, or run in those of the tasks that call them.
    pub(crate) shape: Option<ShapeId>,
    /// It is the place of one task of a stage.
    pub(crate) of_place: bool,
    pub(crate) gpus: Vec<u32>,
    pub(crate) class: ClassId,
    /// Leases that this worker has for its own tasks, and places of stages.
    pub(crate) own: u32,
    /// Leases that other workers have here.
    pub(crate) foreign: u32,
    /// Leases that are to be given back as soon as they are free; of functions, the places of tasks that have ended.
    pub(crate) revoked: VecDeque<u64>,
    /// Processes that run something and do not wait.
    pub(crate) busy: u32,
    /// Processes whose task waits for objects.
    pub(crate) blocked: u32,
    /// Processes whose task has what it waited for, and waits for a place.
    pub(crate) resuming: VecDeque<ExecutorId>,
    /// Actors that wait for a place, to keep it.
    pub(crate) starts: VecDeque<ActorId>,
    /// Tasks that are to run here or do.
    pub(crate) hosted: usize,
    /// Those whose arguments are here, in order.
    pub(crate) inbox: VecDeque<CallId>,
    /// Processes that could take more tasks.
    pub(crate) hungry: Vec<ExecutorId>,
    /// Processes that work for this group.
    pub(crate) working: BTreeSet<ExecutorId>,
    /// Whose turn it is, when both this worker and others have tasks.
    turn: u32,
    /// The fewest places that were free since the last look.
    pub(crate) spare: u32,
    /// They are looked at again by a timer.
    pub(crate) spare_timer: bool,
    /// Places that were asked for, so that tasks can go on.
    pub(crate) asked_back: u32,
}

impl Group {
    pub(crate) fn new(shape: Option<ShapeId>, gpus: Vec<u32>, class: ClassId) -> Self {
        Self {
            shape,
            of_place: false,
            gpus,
            class,
            own: 0,
            foreign: 0,
            revoked: VecDeque::new(),
            busy: 0,
            blocked: 0,
            resuming: VecDeque::new(),
            starts: VecDeque::new(),
            hosted: 0,
            inbox: VecDeque::new(),
            hungry: Vec::new(),
            working: BTreeSet::new(),
            turn: 0,
            spare: 0,
            spare_timer: false,
            asked_back: 0,
        }
    }

    /// The place of one task of a stage.
    pub(crate) fn of_place(gpus: Vec<u32>, class: ClassId) -> Self {
        Self { of_place: true, ..Self::new(None, gpus, class) }
    }

    /// Whether there is no place, and nothing that waits for one. A lease that is not a place for now may come back.
    pub(crate) fn is_unused(&self) -> bool {
        let waits = !self.resuming.is_empty() || !self.starts.is_empty() || self.hosted > 0;
        self.all_places() == 0 && !waits && self.working.is_empty() && !self.spare_timer && self.asked_back == 0
    }

    /// Leases on which something may be started.
    pub(crate) fn places(&self) -> u32 {
        self.own + self.foreign
    }

    /// All leases that are not given back yet.
    pub(crate) fn all_places(&self) -> u32 {
        self.places() + u32::try_from(self.revoked.len()).unwrap_or(u32::MAX)
    }

    /// Whether a place is kept for a task that waits: if it is to go on, or if another place might not do.
    pub(crate) fn keeps_place(&self) -> bool {
        !self.resuming.is_empty() || (self.blocked > 0 && !self.gpus.is_empty())
    }

    /// Places for new tasks.
    pub(crate) fn free(&self) -> u32 {
        let places = if self.keeps_place() { self.places().max(1).min(self.all_places()) } else { self.places() };
        places.saturating_sub(self.busy)
    }

    /// Places that tasks need to go on, and that are to be asked for.
    pub(crate) fn wants_back(&self) -> u32 {
        if self.all_places() > 0 { 0 } else { u32::try_from(self.resuming.len()).unwrap_or(u32::MAX) }
    }

    pub(crate) fn can_resume(&self) -> bool {
        self.busy < self.all_places()
    }

    /// A lease that can be given back.
    pub(crate) fn returnable(&mut self) -> Option<u64> {
        let left = self.all_places().saturating_sub(1);
        let needed = self.busy.max(u32::from(self.keeps_place()));
        if left < needed {
            return None;
        }
        self.revoked.pop_front()
    }

    /// Whether the next task is one of the inbox, if both there and in the queue of this worker are some.
    pub(crate) fn inbox_first(&mut self) -> bool {
        let places = self.places().max(1);
        self.turn = (self.turn + 1) % places;
        self.turn < self.foreign
    }
}
