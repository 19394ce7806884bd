//! The end of a job on this worker.

use tandem_actor_protocol::ExecutorId;

use super::{Job, Life};
use crate::action::Action;
use crate::context::Context;
use crate::executors::Fate;

impl Job {
    /// The job has ended: its processes are killed, and nothing of it matters any more.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>) {
        if self.life == Life::Ending {
            return;
        }
        self.life = Life::Ending;
        let mut executors: Vec<ExecutorId> = self.executors.keys().copied().collect();
        executors.sort_unstable();
        for executor in executors {
            self.stop_executor(cx, executor, Fate::JobEnded, true);
        }
        self.end_outside_calls(cx);
        for ticket in self.tickets.keys() {
            cx.shared.tickets.remove(ticket);
        }
    }

    /// A process of a job that has ended is gone.
    pub(crate) fn gone_after_end(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        self.executors.remove(&executor);
        cx.shared.executors.remove(&executor);
    }

    /// Whether nothing of the job is left here.
    pub(crate) fn is_over(&self) -> bool {
        self.life == Life::Ending && self.executors.is_empty() && !self.uses_disk()
    }

    /// Gives back what it still has.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        for lease in self.host_leases.keys().copied().collect::<Vec<_>>() {
            self.return_lease(cx, lease);
        }
        for lease in cx.shared.gpus.forget(self.id, None) {
            cx.act(Action::ReturnLease { lease });
        }
        for ticket in self.stage_places.keys().copied().collect::<Vec<_>>() {
            self.free_place(cx, ticket);
        }
        self.drop_files(cx);
        cx.act(Action::ForgetJob { job: self.id });
    }
}
