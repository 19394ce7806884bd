//! A process that speaks as the SDK does, and takes virtual time for what it runs.

use std::collections::VecDeque;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::executor::{Role, Run, ToExecutor};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Format, Value};

use super::Alive;
use super::script::{Ids, Load, PART, Script};

/// A process.
pub(crate) struct Process {
    /// Known once it was welcomed.
    ids: Option<Ids>,
    role: Option<Role>,
    runs: VecDeque<Run>,
    running: Option<(CallId, u32)>,
    script: Option<Script>,
    actors: u64,
}

/// What it does next.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) messages: Vec<ToNode>,
    /// It works for so long.
    pub(crate) works_us: Option<u64>,
    pub(crate) tasks_done: u64,
    /// Its script has more to say.
    pub(crate) goes_on: bool,
    /// The script of a driver has ended.
    pub(crate) finished: bool,
    pub(crate) exits: bool,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self { ids: None, role: None, runs: VecDeque::new(), running: None, script: None, actors: 0 }
    }

    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.role, Some(Role::Driver { .. }))
    }

    /// What lives in it.
    pub(crate) fn alive(&self) -> Alive {
        let light = self.role == Some(Role::LightActors);
        Alive {
            tasks: u64::from(self.running.is_some() && self.script.is_none()),
            light_actors: if light { self.actors } else { 0 },
            process_actors: if light { 0 } else { self.actors },
        }
    }

    pub(crate) fn hear(&mut self, load: &Load, message: ToExecutor, said: &mut Said) {
        match message {
            ToExecutor::Welcome(welcome) => {
                self.ids = Some(Ids::new(welcome.worker, welcome.process));
                self.role = Some(welcome.role);
                if self.is_driver() {
                    self.script = Some(Script::of_driver(load));
                    self.go_on(load, said);
                }
            }
            ToExecutor::Run(run) => {
                self.runs.push_back(run);
                if self.running.is_none() {
                    self.begin(load, said);
                }
            }
            ToExecutor::Value { object, outcome } => {
                assert!(outcome.is_ok(), "{object}: {outcome:?}");
                if self.script.as_mut().is_some_and(|script| script.got(said)) {
                    self.go_on(load, said);
                }
            }
            ToExecutor::Resume(call) => {
                assert_eq!(self.running.map(|(running, _)| running), Some(call));
                self.script = None;
                self.done(said);
                self.begin(load, said);
            }
            ToExecutor::Start(start) => {
                self.actors += 1;
                said.messages.push(done(start.actor.creation(), start.attempt));
            }
            ToExecutor::Call(run) => said.messages.push(done(run.call, run.attempt)),
            ToExecutor::Recall(count) => {
                let keep = self.runs.len().saturating_sub(count as usize);
                self.give_back(keep, said);
            }
            ToExecutor::EndActor(actor) if self.role == Some(Role::LightActors) => {
                self.actors -= 1;
                said.messages.push(ToNode::ActorEnded(actor));
            }
            ToExecutor::EndActor(_) | ToExecutor::Shutdown => said.exits = true,
            other => panic!("no program here makes a node say {other:?}"),
        }
    }

    /// Its task has taken its time.
    pub(crate) fn worked(&mut self, load: &Load, said: &mut Said) {
        said.tasks_done += 1;
        self.done(said);
        self.begin(load, said);
    }

    fn begin(&mut self, load: &Load, said: &mut Said) {
        let Some(run) = self.runs.pop_front() else { return };
        self.running = Some((run.call, run.attempt));
        said.messages.push(ToNode::Began(run.call));
        if run.function != PART {
            said.works_us = Some(load.work_us);
            return;
        }
        self.script = Some(Script::of_part(run.call));
        said.messages.push(ToNode::Blocked(run.call));
        self.give_back(0, said);
        self.go_on(load, said);
    }

    pub(crate) fn go_on(&mut self, load: &Load, said: &mut Said) {
        let (Some(script), Some(ids)) = (&mut self.script, &mut self.ids) else { return };
        if script.go_on(load, ids, said) {
            match self.running {
                Some((call, _)) => said.messages.push(ToNode::Unblocked(call)),
                None => said.finished = true,
            }
        }
    }

    fn give_back(&mut self, keep: usize, said: &mut Said) {
        let back: Vec<CallId> = self.runs.drain(keep..).map(|run| run.call).collect();
        said.messages.push(ToNode::GaveBack(back));
    }

    fn done(&mut self, said: &mut Said) {
        if let Some((call, attempt)) = self.running.take() {
            said.messages.push(done(call, attempt));
        }
    }
}

fn done(call: CallId, attempt: u32) -> ToNode {
    ToNode::Done { call, attempt, outcome: Ok(vec![Value::inline(Format::Bytes, &b"12345678"[..])]) }
}
