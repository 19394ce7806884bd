//! The driver of a job: its main program, if it runs on this worker.

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{CallId, ExecutorId};

use super::{Fate, Purpose};
use crate::action::{Action, DRIVER, ExecutorNeeds};
use crate::context::Context;
use crate::job::Job;

/// The driver, while this worker has to answer for it.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) attempt: u32,
    pub(crate) args: Vec<String>,
    executor: ExecutorId,
    failed_starts: u32,
    cancelled: bool,
}

impl Job {
    /// The coordinator wants the driver run here.
    pub(crate) fn launch_driver(&mut self, cx: &mut Context<'_>, attempt: u32, args: Vec<String>) {
        if self.driver.as_ref().is_some_and(|driver| driver.attempt >= attempt) {
            return;
        }
        if let Some(before) = self.driver.take() {
            self.stop_executor(cx, before.executor, Fate::JobEnded, true);
            self.end_top_level(cx);
        }
        let executor = self.start_driver(cx);
        self.driver = Some(Driver { attempt, args, executor, failed_starts: 0, cancelled: false });
    }

    fn start_driver(&mut self, cx: &mut Context<'_>) -> ExecutorId {
        let needs = ExecutorNeeds { purpose: DRIVER.to_owned(), ..ExecutorNeeds::default() };
        self.start_executor(cx, Purpose::Driver, needs)
    }

    pub(crate) fn cancel_driver(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver {
            driver.cancelled = true;
            let executor = driver.executor;
            self.stop_executor(cx, executor, Fate::Cancelled, false);
        }
    }

    /// The driver says that it is done.
    pub(crate) fn driver_done(&mut self, cx: &mut Context<'_>, executor: ExecutorId, outcome: Result<(), Failure>) {
        if self.driver.as_ref().is_some_and(|driver| driver.executor == executor)
            && let Some(driver) = self.driver.take()
        {
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
        let Some(driver) = self.driver.as_mut().filter(|driver| driver.executor == executor) else { return };
        if silent && fate.is_none() && driver.failed_starts + 1 < cx.config.max_failed_starts {
            driver.failed_starts += 1;
            let executor = self.start_driver(cx);
            if let Some(driver) = &mut self.driver {
                driver.executor = executor;
            }
            return;
        }
        let Some(driver) = self.driver.take() else { return };
        let kind = if driver.cancelled { FailureKind::Cancelled } else { failure.kind };
        let failure = Failure { kind, task: DRIVER.to_owned(), attempts: driver.attempt + 1, ..failure };
        self.end_top_level(cx);
        cx.act(Action::DriverEnded { job: self.id, attempt: driver.attempt, outcome: Err(failure) });
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
