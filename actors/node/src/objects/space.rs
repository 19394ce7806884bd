//! Room in the arena of a job: who gets it, and who waits for it.
//! What does not fit now waits until something is freed; what never fits, or waited for too long, fails.

use std::collections::{BTreeSet, VecDeque};

use rustc_hash::FxHashMap;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ExecutorId, ExtentId, ObjectId, SpaceLease};
use tandem_arena::Holder;
use tandem_arena::allocator::LeaseError;

use crate::action::Action;
use crate::context::Context;
use crate::executors::Executor;
use crate::job::Job;
use crate::timers::{Timer, Timestamp};

/// What waits fails after so many times the usual at the latest, however slow the disk is.
const WRITING_PATIENCE: u64 = 6;

/// Who waits for room.
#[derive(Debug, Default)]
pub(crate) struct Space {
    waiting: VecDeque<(Timestamp, u64, SpaceWaiter)>,
    /// Something was freed since the waiting ones were last looked at.
    pub(crate) freed: bool,
    /// The processes that write an extent, so that they can be asked to give it up.
    writers: FxHashMap<ExtentId, ExecutorId>,
    /// Extents that their writers were asked to give up.
    asked: BTreeSet<ExtentId>,
}

/// What room is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpaceWaiter {
    Executor(ExecutorId),
    Shell(u64),
    Fetch(ObjectId),
}

impl SpaceWaiter {
    fn holder(self) -> Holder {
        match self {
            Self::Executor(executor) => Holder::Executor(executor),
            Self::Shell(_) | Self::Fetch(_) => Holder::Worker,
        }
    }
}

impl Job {
    /// Gives room, now or later.
    pub(crate) fn want_space(&mut self, cx: &mut Context<'_>, bytes: u64, waiter: SpaceWaiter) {
        // Those that came before go first.
        if !self.space.waiting.is_empty() || !self.try_space(cx, bytes, waiter) {
            self.space.waiting.push_back((cx.now, bytes, waiter));
            cx.timer(cx.config.space_wait_ms, self.id, Timer::Space);
            self.reclaim(cx);
            self.space.freed = true;
        }
    }

    /// Whether it was given, or never will be.
    fn try_space(&mut self, cx: &mut Context<'_>, bytes: u64, waiter: SpaceWaiter) -> bool {
        match self.lease_space(cx, bytes, waiter.holder()) {
            Ok(lease) => self.give_space(cx, waiter, Ok(lease)),
            Err(LeaseError::Full { .. }) => return false,
            Err(error @ LeaseError::TooLarge { .. }) => self.give_space(cx, waiter, Err(no_room(&error))),
        }
        true
    }

    fn lease_space(&mut self, cx: &mut Context<'_>, bytes: u64, holder: Holder) -> Result<SpaceLease, LeaseError> {
        let leased = match self.arena.lease(holder, bytes) {
            Err(LeaseError::Full { .. }) => {
                self.arena.give_up_unleased(Holder::Worker);
                self.shrink(cx, bytes);
                self.arena.lease(holder, bytes)?
            }
            other => other?,
        };
        let extent = leased.lease.extent;
        if let Some(bytes) = leased.new_extent_bytes {
            self.extents.insert(extent, bytes);
            cx.act(Action::MakeExtent { job: self.id, extent, bytes });
        }
        if let Holder::Executor(executor) = holder {
            self.space.writers.insert(extent, executor);
            self.map_extent(cx, executor, extent, true);
        }
        Ok(leased.lease)
    }

    fn give_space(&mut self, cx: &mut Context<'_>, waiter: SpaceWaiter, outcome: Result<SpaceLease, Failure>) {
        match waiter {
            SpaceWaiter::Executor(executor) => cx.send(executor, ToExecutor::Space(outcome)),
            SpaceWaiter::Shell(ticket) => self.give_shell_space(cx, ticket, outcome),
            SpaceWaiter::Fetch(object) => self.fetch_into(cx, object, outcome),
        }
    }

    /// Gives free extents back, so that one of another size can be made.
    fn shrink(&mut self, cx: &mut Context<'_>, bytes: u64) {
        for extent in self.arena.shrink(bytes) {
            self.extents.remove(&extent);
            self.space.writers.remove(&extent);
            let mut mapped: Vec<ExecutorId> = Vec::new();
            for (id, process) in &mut self.executors {
                if process.extents.remove(&extent).is_some() {
                    mapped.push(*id);
                }
            }
            mapped.sort_unstable();
            mapped.into_iter().for_each(|executor| cx.send(executor, ToExecutor::GiveUp(extent)));
            cx.act(Action::DropExtent { job: self.id, extent });
        }
    }

    /// Asks those who write extents to give them up, once.
    fn reclaim(&mut self, cx: &mut Context<'_>) {
        let mut writers: Vec<(ExtentId, ExecutorId)> =
            self.space.writers.iter().map(|(extent, executor)| (*extent, *executor)).collect();
        writers.sort_unstable();
        for (extent, executor) in writers {
            if self.space.asked.insert(extent) {
                let goes_on_reading = self.executors.get(&executor).is_some_and(Executor::reads_what_it_gave_up);
                let ask = if goes_on_reading { ToExecutor::StopWriting } else { ToExecutor::GiveUp };
                cx.send(executor, ask(extent));
            }
        }
    }

    /// A process has no lease in an extent any more.
    pub(crate) fn gave_up(&mut self, executor: ExecutorId, extent: ExtentId) {
        if let Some(process) = self.executors.get_mut(&executor) {
            process.gave_up(extent);
        }
        if self.space.writers.get(&extent) == Some(&executor) {
            self.space.writers.remove(&extent);
            self.space.asked.remove(&extent);
            let _ = self.arena.give_up(Holder::Executor(executor), extent);
            self.space.freed = true;
        }
    }

    /// A process needs some of what it was leased no more.
    pub(crate) fn space_used(&mut self, cx: &mut Context<'_>, executor: ExecutorId, leases: Vec<SpaceLease>) {
        for lease in leases {
            // One that was taken back meanwhile, with its extent, is no lie.
            let known = self.space.writers.get(&lease.extent) == Some(&executor);
            if known && let Err(error) = self.arena.give_back(Holder::Executor(executor), lease) {
                return self.broke_protocol(cx, executor, &error.to_string());
            }
        }
        self.space.freed = true;
    }

    /// A process is gone with all it had pinned and leased.
    pub(crate) fn space_of_gone(&mut self, executor: ExecutorId) {
        self.arena.holder_gone(Holder::Executor(executor));
        let Space { waiting, writers, asked, freed } = &mut self.space;
        waiting.retain(|(.., waiter)| *waiter != SpaceWaiter::Executor(executor));
        writers.retain(|extent, writer| {
            let gone = *writer == executor;
            if gone {
                asked.remove(extent);
            }
            !gone
        });
        *freed = true;
    }

    /// Gives what was freed to those who wait, and has more freed if that is not enough.
    pub(crate) fn serve_space(&mut self, cx: &mut Context<'_>) {
        self.space.freed = false;
        while let Some((_, bytes, waiter)) = self.space.waiting.front().copied() {
            if !self.try_space(cx, bytes, waiter) {
                return self.make_room(cx, bytes);
            }
            self.space.waiting.pop_front();
        }
    }

    /// Fails what has waited for too long. What is being written to disk is waited for a while longer.
    pub(crate) fn space_overdue(&mut self, cx: &mut Context<'_>) {
        self.space.freed = true;
        let patience_ms = match self.spill.is_writing() {
            true => cx.config.space_wait_ms.saturating_mul(WRITING_PATIENCE),
            false => cx.config.space_wait_ms,
        };
        while let Some((since, bytes, waiter)) = self.space.waiting.front().copied() {
            if since.after(patience_ms) > cx.now {
                if since.after(cx.config.space_wait_ms) <= cx.now {
                    cx.timer(cx.config.space_wait_ms, self.id, Timer::Space);
                }
                return;
            }
            self.space.waiting.pop_front();
            let quota_bytes = cx.config.arena.quota_bytes;
            let mut failure = no_room(&LeaseError::Full { bytes, quota_bytes });
            if let Some(why) = self.spill.refused() {
                failure.message.push_str(&format!(", and objects cannot be written to disk: {why}"));
            }
            self.give_space(cx, waiter, Err(failure));
        }
    }

    pub(crate) fn wants_space(&self) -> bool {
        self.space.freed && !self.space.waiting.is_empty()
    }

    /// Nobody waits for this any more.
    pub(crate) fn forget_space(&mut self, waiter: SpaceWaiter) {
        self.space.waiting.retain(|(.., other)| *other != waiter);
    }
}

fn no_room(error: &LeaseError) -> Failure {
    Failure::new(FailureKind::StoreFull, "", error.to_string())
}
