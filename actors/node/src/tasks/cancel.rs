//! Ends calls that someone wants ended, with what they have submitted.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::peer::PeerBody;
use tandem_actor_protocol::{CallId, WorkerId};

use super::{TaskEvent, TaskState};
use crate::context::Context;
use crate::job::Job;

impl Job {
    /// A process or a third worker wants a call ended. Its owner knows where it is.
    pub(crate) fn cancel(&mut self, cx: &mut Context<'_>, call: CallId, force: bool) {
        if call.owner() == self.worker {
            self.cancel_here(cx, call, force);
        } else {
            self.send_peer(cx, call.owner(), PeerBody::Cancel { call, force });
        }
    }

    /// The owner of a call that is here, or was, wants it ended.
    pub(crate) fn cancel_for_owner(&mut self, cx: &mut Context<'_>, owner: WorkerId, call: CallId, force: bool) {
        if self.forget_early(call) {
            return self.send_peer(cx, owner, PeerBody::GaveBack(vec![call]));
        }
        self.cancel_hosted_call(cx, call);
        self.cancel_here(cx, call, force);
    }

    /// Ends a call that this worker owns or hosts, and all that it has submitted here.
    pub(crate) fn cancel_here(&mut self, cx: &mut Context<'_>, call: CallId, force: bool) {
        let mut calls = vec![call];
        while let Some(call) = calls.pop() {
            self.cancel_one(cx, call, force);
            calls.extend(self.children_of(call));
        }
    }

    fn children_of(&self, call: CallId) -> Vec<CallId> {
        self.children.range((call, CallId(0))..=(call, CallId(u128::MAX))).map(|(_, child)| *child).collect()
    }

    fn cancel_one(&mut self, cx: &mut Context<'_>, call: CallId, force: bool) {
        if self.calls.contains_key(&call) {
            return self.cancel_call(cx, call);
        }
        let Some(task) = self.tasks.get_mut(&call) else { return self.cancel_hosted(cx, call, force) };
        match task.state {
            TaskState::Waiting { .. } | TaskState::Queued => self.finish_cancelled(cx, call),
            TaskState::Placed { host, .. } => {
                let _ = task.state.apply(TaskEvent::Cancel);
                if host == self.worker {
                    self.cancel_hosted(cx, call, force);
                } else {
                    self.send_peer(cx, host, PeerBody::Cancel { call, force });
                }
            }
            TaskState::Finished => {}
        }
    }

    /// A task that has not begun ends as cancelled.
    pub(crate) fn finish_cancelled(&mut self, cx: &mut Context<'_>, call: CallId) {
        let Some(task) = self.tasks.get(&call) else { return };
        let failure = Failure { attempts: task.failures, ..cancelled(task.name()) };
        self.finish_task(cx, call, Err(failure));
    }
}

/// What a cancelled call ends with.
pub(crate) fn cancelled(name: &str) -> Failure {
    Failure::new(FailureKind::Cancelled, name, "it was cancelled")
}
