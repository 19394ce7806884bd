//! Reports that the coordinator has not acknowledged.
//! Invariant: sequences only grow, and a report keeps its own for good.

use std::collections::BTreeMap;

use tandem_proto::v1::{TaskAttempt, TaskReport, task_report};

/// Heartbeats after which an unanswered report is said again on the same stream.
const PATIENCE_BEATS: u32 = 4;

#[derive(Debug)]
struct Unacknowledged {
    report: TaskReport,
    waited_beats: u32,
}

#[derive(Debug, Default)]
pub(super) struct Reports {
    last_sequence: u64,
    waiting: BTreeMap<u64, Unacknowledged>,
}

impl Reports {
    /// Owes one more report and returns it.
    pub(super) fn add(&mut self, attempt: TaskAttempt, outcome: task_report::Outcome) -> TaskReport {
        self.last_sequence += 1;
        let report = TaskReport { sequence: self.last_sequence, attempt: Some(attempt), outcome: Some(outcome) };
        self.waiting.insert(self.last_sequence, Unacknowledged { report: report.clone(), waited_beats: 0 });
        report
    }

    /// The coordinator has it; an acknowledgement seen before changes nothing.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        self.waiting.remove(&sequence);
    }

    /// All that is owed, oldest first, about to be sent.
    pub(super) fn all(&mut self) -> impl Iterator<Item = TaskReport> {
        self.waiting.values_mut().map(|owed| {
            owed.waited_beats = 0;
            owed.report.clone()
        })
    }

    /// Lets one heartbeat pass and returns what has waited too long, about to be sent again.
    pub(super) fn overdue(&mut self) -> Vec<TaskReport> {
        let mut overdue = Vec::new();
        for owed in self.waiting.values_mut() {
            owed.waited_beats += 1;
            if owed.waited_beats >= PATIENCE_BEATS {
                owed.waited_beats = 0;
                overdue.push(owed.report.clone());
            }
        }
        overdue
    }
}
