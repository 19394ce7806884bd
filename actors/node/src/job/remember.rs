//! What of a job is kept to be looked at when it has ended.

use std::sync::Arc;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::failure::Failure;

use super::Job;
use crate::actors::HostedCall;
use crate::context::Context;
use crate::history::{Ended, kept};
use crate::host::Hosted;
use crate::tasks::TaskState;
use crate::timers::Timestamp;

impl Job {
    /// An attempt of a task has ended here.
    pub(crate) fn remember_task(&self, cx: &mut Context<'_>, call: CallId, hosted: &Hosted, failure: Option<&Failure>) {
        let (function, options) = match hosted.guest.as_deref() {
            Some(guest) => (&guest.function, guest.options.as_deref()),
            None => match self.tasks.get(&call) {
                Some(task) => (&task.function, task.options.as_deref()),
                None => return,
            },
        };
        let name = options.map(|options| options.name.as_str()).filter(|name| !name.is_empty());
        let executor = hosted.executor();
        let began = executor.and_then(|executor| self.executors.get(&executor)?.began(call));
        cx.shared.history.add(Ended {
            job: self.id,
            call,
            actor: None,
            function: Arc::clone(function),
            name: name.map(Into::into),
            attempt: hosted.attempt,
            began,
            ended: cx.now,
            pid: self.pid(executor),
            failure: failure.map(kept),
        });
    }

    /// A task of this worker ends without ever having been sent to where it could run.
    pub(crate) fn remember_unplaced(&self, cx: &mut Context<'_>, call: CallId, failure: &Failure) {
        let Some(task) = self.tasks.get(&call) else { return };
        if !matches!(task.state, TaskState::Waiting { .. } | TaskState::Queued) {
            return;
        }
        cx.shared.history.add(Ended {
            job: self.id,
            call,
            actor: None,
            function: Arc::clone(&task.function),
            name: (task.name() != &*task.function).then(|| task.name().into()),
            attempt: task.attempt,
            began: None,
            ended: cx.now,
            pid: None,
            failure: Some(kept(failure)),
        });
    }

    /// A call of an actor that lives here has ended. It is said to have begun when it came to the process, or when the call
    /// before it ended if the actor takes one of its group at a time.
    pub(crate) fn remember_call(
        &mut self,
        cx: &mut Context<'_>,
        call: CallId,
        entry: &HostedCall,
        failure: Option<&Failure>,
    ) {
        let hosted = self.hosted_actors.get_mut(&entry.actor);
        let before = hosted.map_or(Timestamp::default(), |hosted| {
            match (hosted.concurrency_of(entry.group.as_ref()), &entry.group) {
                (1, None) => std::mem::replace(&mut hosted.last_ended, cx.now),
                (1, Some(group)) => hosted.last_ended_in.insert(Arc::clone(group), cx.now).unwrap_or_default(),
                _ => Timestamp::default(),
            }
        });
        let executor = self.hosted_actors.get(&entry.actor).and_then(|hosted| hosted.executor);
        cx.shared.history.add(Ended {
            job: self.id,
            call,
            actor: Some(entry.actor),
            function: Arc::clone(&entry.method),
            name: None,
            attempt: entry.attempt,
            began: entry.sent.map(|sent| sent.max(before)),
            ended: cx.now,
            pid: self.pid(executor),
            failure: failure.map(kept),
        });
    }
}
