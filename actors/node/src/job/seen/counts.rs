//! How many tasks and calls of each function are here.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::actors::CallState;
use crate::job::Job;
use crate::views::{LiveCounts, TaskStateView};

impl Job {
    /// Those that have not ended. What is on another worker is counted there.
    pub(crate) fn live_counts(&self) -> FxHashMap<Arc<str>, LiveCounts> {
        let mut counts: FxHashMap<Arc<str>, LiveCounts> = FxHashMap::default();
        let mut count = |function: &Arc<str>, state: TaskStateView| {
            let counts = match counts.get_mut(function) {
                Some(counts) => counts,
                None => counts.entry(Arc::clone(function)).or_default(),
            };
            counts.add(state);
        };
        for (call, task) in &self.tasks {
            if !task.state.is_elsewhere(self.worker) {
                count(&task.function, self.task_state(*call, task));
            }
        }
        for (call, hosted) in &self.hosted {
            if let Some(guest) = hosted.guest.as_deref() {
                count(&guest.function, self.hosted_state(*call, Some(hosted)));
            }
        }
        for entry in self.calls.values().filter(|entry| matches!(entry.state, CallState::Waiting { .. })) {
            count(&entry.method, TaskStateView::Pending);
        }
        let given = self.given_calls();
        for hosted in self.hosted_calls.values() {
            count(&hosted.method, self.hosted_call_state(hosted, &given));
        }
        counts
    }
}
