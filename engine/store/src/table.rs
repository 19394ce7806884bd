//! All outputs of a store: those being written and those that readers may see.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tandem_proto::{Attempt, JobId, PartitionId, StageId};

use crate::key::OutputKey;
use crate::output::{SpillClaim, TaskOutput};

/// The outputs, by key once finished, by writer before.
#[derive(Debug, Default)]
pub(crate) struct Table {
    finished: BTreeMap<OutputKey, Arc<TaskOutput>>,
    unfinished: HashMap<WriterId, Arc<TaskOutput>>,
    next_writer: u64,
}

/// One writer of this store, so that two writers of one key do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WriterId(u64);

/// What to spill next.
#[derive(Debug)]
pub(crate) enum Victim {
    /// This output.
    Output(SpillClaim),
    /// Nothing now, but others are being spilled.
    Wait,
    /// Nothing: all there is in memory is too little to write.
    None,
}

impl Table {
    /// Adds an output that is being written.
    pub(crate) fn begin(&mut self, output: Arc<TaskOutput>) -> WriterId {
        let id = WriterId(self.next_writer);
        self.next_writer += 1;
        self.unfinished.insert(id, output);
        id
    }

    /// Removes an output that was not finished.
    pub(crate) fn abandon(&mut self, writer: WriterId) -> Option<Arc<TaskOutput>> {
        self.unfinished.remove(&writer)
    }

    /// Makes an output visible and answers the one it replaces; false when it was dropped before it was finished.
    pub(crate) fn publish(&mut self, writer: WriterId) -> (bool, Option<Arc<TaskOutput>>) {
        match self.unfinished.remove(&writer) {
            Some(output) => (true, self.finished.insert(output.key(), output)),
            None => (false, None),
        }
    }

    /// A finished output.
    pub(crate) fn get(&self, key: &OutputKey) -> Option<&Arc<TaskOutput>> {
        self.finished.get(key)
    }

    /// Removes one finished output.
    pub(crate) fn take(&mut self, key: &OutputKey) -> Option<Arc<TaskOutput>> {
        self.finished.remove(key)
    }

    /// The keys of all finished outputs, in order.
    pub(crate) fn keys(&self) -> Vec<OutputKey> {
        self.finished.keys().copied().collect()
    }

    /// How many outputs are finished.
    pub(crate) fn len(&self) -> usize {
        self.finished.len()
    }

    /// Removes all outputs of a job, or of one stage of it.
    pub(crate) fn remove(&mut self, job: JobId, stage: Option<StageId>) -> Vec<Arc<TaskOutput>> {
        let matches = |key: OutputKey| key.job == job && stage.is_none_or(|stage| key.stage == stage);
        let bound = |stage, last: u32| OutputKey { job, stage, partition: PartitionId(last), attempt: Attempt(last) };
        let first = bound(stage.unwrap_or(StageId(0)), 0);
        let last = bound(stage.unwrap_or(StageId(u32::MAX)), u32::MAX);
        let finished = self.finished.extract_if(first..=last, |_, _| true).map(|(_, output)| output);
        let unfinished = self.unfinished.extract_if(|_, output| matches(output.key())).map(|(_, output)| output);
        finished.chain(unfinished).collect()
    }

    /// The output with the most memory to free. Below `worthwhile_bytes` one that is still written is left alone, or
    /// its file would become many small pieces, and a finished one is taken only when nothing is being spilled.
    pub(crate) fn victim(&self, worthwhile_bytes: u64) -> Victim {
        let unfinished = self.unfinished.values().filter(|output| output.in_memory() >= worthwhile_bytes);
        let candidates = self.finished.values().chain(unfinished).filter(|output| output.in_memory() > 0);
        let (busy, idle): (Vec<_>, Vec<_>) = candidates.partition(|output| output.is_spilling());
        let Some(largest) = idle.into_iter().max_by_key(|output| output.in_memory()) else {
            return if busy.is_empty() { Victim::None } else { Victim::Wait };
        };
        if largest.in_memory() < worthwhile_bytes && !busy.is_empty() {
            return Victim::Wait;
        }
        largest.claim_spill().map_or(Victim::Wait, Victim::Output)
    }
}
