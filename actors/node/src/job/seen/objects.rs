//! The objects of a job that this worker owns or holds.

use tandem_actor_protocol::{ObjectId, ProcessNumber, object_owner};

use crate::job::Job;
use crate::objects::{Object, ObjectState, Stored};
use crate::views::{ObjectStateView, ObjectView};

/// Processes that hold an object and are named.
const SHOWN_PIDS: usize = 8;

impl Job {
    pub(crate) fn object_views(&self) -> impl Iterator<Item = ObjectView> {
        self.objects.iter().map(|(object, record)| ObjectView {
            job: self.id,
            object: *object,
            state: match record.state {
                ObjectState::Pending => ObjectStateView::Pending,
                ObjectState::Ready(_) => ObjectStateView::Ready,
                ObjectState::Failed(_) => ObjectStateView::Failed,
            },
            bytes: record.stored().map_or(0, Stored::bytes),
            local: record.stored().is_some_and(Stored::is_here),
            holder: record.stored().and_then(Stored::remote),
            call: record.call(*object),
            made_by: self.made_by(*object, record),
            processes: record.processes,
            pids: self.pids_that_hold(*object, record),
            uses: record.uses + record.guests,
            borrowers: u32::try_from(record.borrowers.workers().count()).unwrap_or(u32::MAX),
        })
    }

    fn pids_that_hold(&self, object: ObjectId, record: &Object) -> Vec<u32> {
        if record.processes == 0 {
            return Vec::new();
        }
        let holders = self.executors.values().filter(|process| process.held.contains(&object));
        holders.filter_map(|process| process.pid).take(SHOWN_PIDS).collect()
    }

    /// What made an object, while that is known here.
    fn made_by(&self, object: ObjectId, record: &Object) -> String {
        if let Some(call) = record.call(object).or_else(|| self.streams.stream_of(object)) {
            let task = self.tasks.get(&call).map(|task| &task.function);
            let function = task.or_else(|| self.calls.get(&call).map(|entry| &entry.method));
            return function.map_or_else(String::new, ToString::to_string);
        }
        let number = ProcessNumber::of(object);
        let process = self.executors.values().find(|process| process.process == Some(number));
        let pid = process.filter(|_| object_owner(object) == self.worker).and_then(|process| process.pid);
        pid.map_or_else(String::new, |pid| format!("put by process {pid}"))
    }
}
