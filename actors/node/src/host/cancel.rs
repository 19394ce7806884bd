//! Ends tasks that are here.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::{CallId, WorkerId};

use super::{Phase, Source};
use crate::context::Context;
use crate::executors::Fate;
use crate::job::Job;
use crate::tasks::cancelled;
use crate::timers::Timer;

impl Job {
    /// A task that is here is to end: at once if it has not begun.
    pub(crate) fn cancel_hosted(&mut self, cx: &mut Context<'_>, call: CallId, force: bool) {
        let Some(hosted) = self.hosted.get_mut(&call) else { return };
        match hosted.phase {
            Phase::Fetching { .. } | Phase::Inbox => self.hosted_task_failed(cx, call, cancelled("")),
            Phase::Sent(executor) => {
                if let Some(guest) = &mut hosted.guest {
                    guest.cancelled = true;
                }
                self.stuck.remove(call);
                cx.send(executor, ToExecutor::Cancel(call));
                if force {
                    cx.timer(cx.config.stop_grace_ms, self.id, Timer::CancelKill(call));
                }
            }
        }
    }

    /// A task that was cancelled by force is still there: its process ends, if it runs it.
    pub(crate) fn cancel_overdue(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(Phase::Sent(executor)) = self.phase_of(call) else { return };
        if self.executors.get(&executor).is_some_and(|process| process.calls.front() == Some(&call)) {
            self.stop_executor(cx, executor, Fate::Cancelled, true);
        } else {
            // It waits behind others, and ends as soon as the process looks at it.
            cx.timer(cx.config.stop_grace_ms, self.id, Timer::CancelKill(call));
        }
    }

    /// A worker is lost: what it wanted run here ends, and is told to nobody.
    pub(crate) fn hosted_of_lost(&mut self, cx: &mut Context<'_>, lost: WorkerId) {
        let of_lost = |source| matches!(source, Source::Peer { worker, .. } if worker == lost);
        let mut calls: Vec<CallId> =
            self.hosted.iter().filter(|(_, hosted)| of_lost(hosted.source)).map(|(call, _)| *call).collect();
        calls.sort_unstable();
        for call in calls {
            if let Some(hosted) = self.hosted.get_mut(&call) {
                hosted.source = Source::Nobody;
            }
            self.cancel_here(cx, call, true);
        }
        self.early.retain(|_, runs| {
            runs.retain(|run| run.worker != lost);
            !runs.is_empty()
        });
    }
}
