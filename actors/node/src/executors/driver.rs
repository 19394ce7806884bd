//! The driver of a job: its main program, if it runs on this worker, or the actor that the job is.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, CallId, ExecutorId};

use super::{Fate, Purpose};
use crate::action::{Action, DRIVER, ExecutorNeeds};
use crate::actors::{ENDED, OwnedState};
use crate::context::Context;
use crate::event::DriverWork;
use crate::job::Job;

/// The driver, while this worker has to answer for it.
#[derive(Debug)]
pub(crate) struct Driver {
    attempt: u32,
    is: Is,
}

/// What a driver is.
#[derive(Debug)]
enum Is {
    /// A process.
    Process { executor: ExecutorId, args: Vec<String>, failed_starts: u32, cancelled: bool },
    /// No process of its own.
    Actor(ActorId),
}

impl Driver {
    /// What its main program is given.
    pub(crate) fn args(&self) -> Vec<String> {
        match &self.is {
            Is::Process { args, .. } => args.clone(),
            Is::Actor(_) => Vec::new(),
        }
    }

    fn is_process(&self, of: ExecutorId) -> bool {
        matches!(self.is, Is::Process { executor, .. } if executor == of)
    }
}

impl Job {
    /// The coordinator wants the driver run here.
    pub(crate) fn launch_driver(&mut self, cx: &mut Context<'_>, attempt: u32, work: DriverWork) {
        if self.driver.as_ref().is_some_and(|driver| driver.attempt >= attempt) {
            return;
        }
        if let Some(before) = self.driver.take() {
            if let Is::Process { executor, .. } = before.is {
                self.stop_executor(cx, executor, Fate::JobEnded, true);
            }
            self.end_top_level(cx);
        }
        match work {
            DriverWork::Program(args) => {
                let executor = self.start_driver(cx);
                let is = Is::Process { executor, args, failed_starts: 0, cancelled: false };
                self.driver = Some(Driver { attempt, is });
            }
            DriverWork::Actor(spec) => {
                let actor = self.new_driver_actor(cx);
                self.driver = Some(Driver { attempt, is: Is::Actor(actor) });
                self.start_driver_actor(cx, actor, *spec);
            }
        }
    }

    fn start_driver(&mut self, cx: &mut Context<'_>) -> ExecutorId {
        let needs = ExecutorNeeds { purpose: DRIVER.to_owned(), ..ExecutorNeeds::default() };
        self.start_executor(cx, Purpose::Driver, needs)
    }

    pub(crate) fn cancel_driver(&mut self, cx: &mut Context<'_>) {
        match self.driver.as_mut().map(|driver| &mut driver.is) {
            Some(Is::Process { executor, cancelled, .. }) => {
                *cancelled = true;
                let executor = *executor;
                self.stop_executor(cx, executor, Fate::Cancelled, false);
            }
            Some(Is::Actor(actor)) => {
                let actor = *actor;
                self.kill(cx, actor, true);
            }
            None => {}
        }
    }

    /// The driver says that it is done.
    pub(crate) fn driver_done(&mut self, cx: &mut Context<'_>, executor: ExecutorId, outcome: Result<(), Failure>) {
        if self.driver.as_ref().is_some_and(|driver| driver.is_process(executor)) {
            self.end_driver(cx, outcome);
        }
    }

    /// An actor will not live again. If it is the driver, that has ended: well if it was to end.
    pub(crate) fn driver_actor_gone(&mut self, cx: &mut Context<'_>, actor: ActorId) {
        if self.driver.as_ref().is_none_or(|driver| !matches!(driver.is, Is::Actor(of) if of == actor)) {
            return;
        }
        let Some(OwnedState::Gone(why)) = self.owned_actors.get(&actor).map(|owned| &owned.state) else { return };
        let outcome = if why.message == ENDED { Ok(()) } else { Err(Failure::clone(why)) };
        self.end_driver(cx, outcome);
    }

    fn end_driver(&mut self, cx: &mut Context<'_>, outcome: Result<(), Failure>) {
        if let Some(driver) = self.driver.take() {
            cx.act(Action::DriverEnded { job: self.id, attempt: driver.attempt, outcome });
        }
    }

    /// The process of the driver is gone before it was done.
    pub(crate) fn driver_gone(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        silent: bool,
        fate: Option<Fate>,
        failure: Failure,
    ) {
        let Some(driver) = self.driver.as_mut().filter(|driver| driver.is_process(executor)) else { return };
        let attempt = driver.attempt;
        let Is::Process { failed_starts, cancelled, .. } = &mut driver.is else { return };
        if silent && fate.is_none() && *failed_starts + 1 < cx.config.max_failed_starts {
            *failed_starts += 1;
            return self.start_driver_again(cx);
        }
        let kind = if *cancelled { FailureKind::Cancelled } else { failure.kind };
        let failure = Failure { kind, task: DRIVER.to_owned(), attempts: attempt + 1, ..failure };
        self.end_top_level(cx);
        self.end_driver(cx, Err(failure));
    }

    fn start_driver_again(&mut self, cx: &mut Context<'_>) {
        let started = self.start_driver(cx);
        if let Some(Driver { is: Is::Process { executor, .. }, .. }) = &mut self.driver {
            *executor = started;
        }
    }

    /// What a driver that is gone has started ends too: another attempt of it starts from nothing.
    fn end_top_level(&mut self, cx: &mut Context<'_>) {
        let top = self.tasks.iter().filter(|(_, task)| task.parent.call().is_none()).map(|(call, _)| *call);
        let mut calls: Vec<CallId> = top.chain(self.top_calls()).collect();
        calls.sort_unstable();
        for call in calls {
            self.cancel_here(cx, call, true);
        }
        self.end_top_actors(cx);
    }
}
