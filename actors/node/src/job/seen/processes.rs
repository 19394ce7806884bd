//! The processes of a job.

use crate::executors::{Executor, ExecutorState, Purpose};
use crate::job::Job;
use crate::views::{ExecutorStateView, ExecutorView};

impl Job {
    pub(crate) fn executor_views(&self) -> impl Iterator<Item = ExecutorView> {
        self.executors.iter().map(|(executor, process)| ExecutorView {
            job: self.id,
            executor: *executor,
            pid: process.pid,
            purpose: process.label.clone(),
            state: executor_state(process),
            calls: process.calls.iter().copied().collect(),
            objects: process.held.len(),
        })
    }
}

fn executor_state(process: &Executor) -> ExecutorStateView {
    match process.state {
        _ if process.fate.is_some() => ExecutorStateView::Ending,
        ExecutorState::Starting => ExecutorStateView::Starting,
        ExecutorState::Idle if matches!(process.purpose, Purpose::Tasks(_)) => ExecutorStateView::Idle,
        ExecutorState::Idle | ExecutorState::Busy => ExecutorStateView::Busy,
        ExecutorState::Blocking(_) | ExecutorState::Blocked(_) | ExecutorState::Resuming(_) => {
            ExecutorStateView::Blocked
        }
    }
}
