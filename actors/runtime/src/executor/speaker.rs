//! Who speaks: which task or actor what a process prints belongs to. Fed with what passes over the link. A process runs its
//! tasks one at a time in the order in which they were sent, so while none is known to run, it is the first of them that speaks.
//! Owned by one executor; shared by the desk, which sends, and the reader of its link.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::executor::{Role, ToExecutor};
use tandem_actor_protocol::node::ToNode;

use super::lines::Tag;
use super::printed::Printed;

/// What `driver` is called in logs.
const DRIVER: &str = "driver";

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    state: Mutex<State>,
    /// Once there is a process.
    pipes: OnceLock<[Arc<Printed>; 2]>,
}

#[derive(Debug, Default)]
struct State {
    /// Who prints what no task does.
    process: Tag,
    /// The call that began last, until it ends.
    call: Option<CallId>,
    /// Tasks that were sent and have not ended, and their functions, in order: no more than are sent ahead.
    tasks: Vec<(CallId, Arc<str>)>,
}

impl Speaker {
    /// The process has started and prints to these. Said once.
    pub(crate) fn started(&self, pipes: [Arc<Printed>; 2]) {
        if self.pipes.set(pipes).is_ok() {
            self.change(&self.lock());
        }
    }

    /// Waits until all that the process has printed by now is passed on.
    pub(crate) async fn flushed(&self) {
        for pipe in self.pipes.get().into_iter().flatten() {
            pipe.flushed().await;
        }
    }

    /// Notes what is sent to the process.
    pub(crate) fn sent(&self, message: &ToExecutor) {
        let mut state = self.lock();
        let process = match message {
            ToExecutor::Welcome(welcome) if matches!(welcome.role, Role::Driver { .. }) => DRIVER.into(),
            // An actor of a process of its own; the last one that came to a process of light ones.
            ToExecutor::Start(start) | ToExecutor::StartHeld(start) => {
                Tag { task: start.actor.to_string().into(), name: start.class.as_str().into() }
            }
            ToExecutor::Run(run) | ToExecutor::RunStream { run, .. } => {
                state.tasks.push((run.call, run.function.as_str().into()));
                if state.call.is_none() && state.tasks.len() == 1 {
                    self.change(&state);
                }
                return;
            }
            _ => return,
        };
        state.process = process;
        if state.speaking().is_none() {
            self.change(&state);
        }
    }

    /// Notes what came from the process, all of it at the same moment.
    pub(crate) fn received(&self, messages: &[ToNode]) {
        let mut state = self.lock();
        let before = state.speaking();
        let mut first = None;
        for message in messages {
            state.receive(message);
            if let (None, None, ToNode::Began(_)) = (before, &first, message) {
                first = Some(state.tag());
            }
        }
        if let Some(first) = &first {
            self.each_pipe(|pipe| pipe.began(first.clone()));
        }
        if first.is_some() || state.speaking() != before {
            self.change(&state);
        }
    }

    fn change(&self, state: &State) {
        let tag = state.tag();
        self.each_pipe(|pipe| pipe.change(tag.clone()));
    }

    fn each_pipe(&self, act: impl Fn(&Printed)) {
        self.pipes.get().into_iter().flatten().for_each(|pipe| act(pipe));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn receive(&mut self, message: &ToNode) {
        match message {
            ToNode::Began(call) => self.call = Some(*call),
            ToNode::Done { call, .. } => {
                self.forget(*call);
                if self.call == Some(*call) {
                    self.call = None;
                }
            }
            ToNode::GaveBack(calls) => calls.iter().for_each(|call| self.forget(*call)),
            _ => {}
        }
    }

    fn forget(&mut self, call: CallId) {
        self.tasks.retain(|(sent, _)| *sent != call);
    }

    fn speaking(&self) -> Option<CallId> {
        self.call.or_else(|| self.tasks.first().map(|(call, _)| *call))
    }

    fn tag(&self) -> Tag {
        let Some(call) = self.speaking() else { return self.process.clone() };
        let function = self.tasks.iter().find(|(sent, _)| *sent == call).map(|(_, function)| function.clone());
        let name = function.unwrap_or_default();
        Tag { task: call.to_string().into(), name }
    }
}

impl From<&str> for Tag {
    fn from(task: &str) -> Self {
        Self { task: task.into(), name: "".into() }
    }
}
