//! What is done when a time has come.

use super::{Job, Life};
use crate::context::Context;
use crate::timers::Timer;

impl Job {
    pub(crate) fn timer(&mut self, cx: &mut Context<'_>, timer: Timer) {
        if self.life == Life::Ending {
            return;
        }
        match timer {
            Timer::ExecutorIdle(executor) => self.executor_idle(cx, executor),
            Timer::Attempt { executor, at } => self.attempt_overdue(cx, executor, at),
            Timer::CancelKill(call) => self.cancel_overdue(cx, call),
            Timer::ActorKill(actor) => self.actor_end_overdue(cx, actor),
            Timer::LeaseIdle(lease) => self.lease_idle(cx, lease),
            Timer::SpareLeases(group) => self.release_spare(cx, group),
            Timer::Demand(shape) => self.demand_overdue(cx, shape),
            Timer::UnknownLease(lease) => self.unknown_lease_overdue(cx, lease),
            Timer::Group(group) => self.group_overdue(cx, group),
            Timer::Space => self.space_overdue(cx),
            Timer::Stuck { call, wait, pause_ms } => self.search_circle(cx, call, wait, pause_ms),
        }
    }
}
