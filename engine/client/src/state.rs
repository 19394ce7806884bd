//! What workers say of tasks, actors, objects and processes, put together.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use tandem_proto::v1::state_service_client::StateServiceClient;
use tandem_proto::v1::{
    ActorRecord, FunctionSummary, ListStateRequest, ObjectRecord, ProcessRecord, StatePart, TaskRecord, TaskRecordState,
};

use crate::client::Client;
use crate::error::ClientError;

/// The answers of all workers to one question.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// Attempts of tasks and calls, each once, by id and attempt.
    pub tasks: Vec<TaskRecord>,
    /// Actors, each once, by id.
    pub actors: Vec<ActorRecord>,
    /// Objects with the worker that knows them so: one may be known to several.
    pub objects: Vec<(u64, ObjectRecord)>,
    /// Processes with their worker.
    pub processes: Vec<(u64, ProcessRecord)>,
    /// Functions, each once per job.
    pub functions: Vec<FunctionSummary>,
    /// The names of the workers that were asked.
    pub workers: BTreeMap<u64, String>,
    /// Records that workers left out because there are too many.
    pub left_out: u64,
    /// Ended attempts that workers do not keep any more.
    pub forgotten: u64,
    /// Workers that gave no answer, and why.
    pub silent: Vec<(String, String)>,
}

impl Client {
    /// Asks all workers for what they own, host or hold.
    ///
    /// # Errors
    /// The coordinator cannot be asked. A worker that cannot is in [`ClusterState::silent`].
    pub async fn state(&self, request: ListStateRequest) -> Result<ClusterState, ClientError> {
        let broken = |status| ClientError::from_status(self.address(), &status);
        let mut service = StateServiceClient::new(self.channel());
        let mut parts = service.list(request).await.map_err(broken)?.into_inner();
        let mut gathered = Gathered::default();
        while let Some(part) = parts.message().await.map_err(broken)? {
            gathered.add(part);
        }
        Ok(gathered.finish())
    }
}

/// What has come so far.
#[derive(Default)]
struct Gathered {
    tasks: BTreeMap<(String, u32), TaskRecord>,
    actors: BTreeMap<String, ActorRecord>,
    functions: BTreeMap<(u64, String), FunctionSummary>,
    rest: ClusterState,
}

impl Gathered {
    fn add(&mut self, part: StatePart) {
        let StatePart { worker, worker_name, tasks, actors, objects, processes, functions, .. } = part;
        self.rest.left_out += part.left_out;
        self.rest.forgotten += part.forgotten;
        if !part.error.is_empty() {
            self.rest.silent.push((worker_name.clone(), part.error));
        }
        self.rest.workers.insert(worker, worker_name);
        self.rest.objects.extend(objects.into_iter().map(|object| (worker, object)));
        self.rest.processes.extend(processes.into_iter().map(|process| (worker, process)));
        tasks.into_iter().for_each(|task| self.add_task(task));
        actors.into_iter().for_each(|actor| self.add_actor(actor));
        functions.into_iter().for_each(|function| self.add_function(function));
    }

    /// Of what owner and host say of an attempt, that of the one that knows more.
    fn add_task(&mut self, task: TaskRecord) {
        match self.tasks.entry((task.id.clone(), task.attempt)) {
            Entry::Vacant(entry) => _ = entry.insert(task),
            Entry::Occupied(mut entry) => {
                let known = entry.get_mut();
                let (better, other) =
                    if knows(&task) > knows(known) { (task, &*known) } else { (known.clone(), &task) };
                let parent = if better.parent.is_empty() { other.parent.clone() } else { better.parent.clone() };
                *known = TaskRecord { parent, ..better };
            }
        }
    }

    fn add_actor(&mut self, actor: ActorRecord) {
        match self.actors.entry(actor.id.clone()) {
            Entry::Vacant(entry) => _ = entry.insert(actor),
            Entry::Occupied(mut entry) => {
                // The owner knows where it stands, the host its process.
                let (owner, host) = if actor.pid == 0 { (&actor, entry.get()) } else { (entry.get(), &actor) };
                let merged = ActorRecord { pid: host.pid, calls: host.calls, ..owner.clone() };
                entry.insert(merged);
            }
        }
    }

    fn add_function(&mut self, more: FunctionSummary) {
        match self.functions.entry((more.job, more.function.clone())) {
            Entry::Vacant(entry) => _ = entry.insert(more),
            Entry::Occupied(mut entry) => {
                let sum = entry.get_mut();
                sum.pending += more.pending;
                sum.scheduled += more.scheduled;
                sum.running += more.running;
                sum.blocked += more.blocked;
                sum.finished += more.finished;
                sum.failed += more.failed;
                sum.run_us += more.run_us;
                sum.longest_us = sum.longest_us.max(more.longest_us);
            }
        }
    }

    fn finish(self) -> ClusterState {
        ClusterState {
            tasks: self.tasks.into_values().collect(),
            actors: self.actors.into_values().collect(),
            functions: self.functions.into_values().collect(),
            ..self.rest
        }
    }
}

/// The more, the more is known of the attempt.
fn knows(task: &TaskRecord) -> u8 {
    match task.state() {
        TaskRecordState::Finished | TaskRecordState::Failed if task.ended_us > 0 => 5,
        TaskRecordState::Running | TaskRecordState::Blocked => 4,
        TaskRecordState::Finished | TaskRecordState::Failed => 3,
        TaskRecordState::Scheduled => 2,
        TaskRecordState::Pending => 1,
        TaskRecordState::Unspecified => 0,
    }
}

#[cfg(test)]
mod tests {
    use tandem_proto::v1::ActorRecordState;

    use super::*;

    fn task(state: TaskRecordState, attempt: u32, parent: &str) -> TaskRecord {
        let parent = parent.to_owned();
        TaskRecord { id: "t1".to_owned(), state: state.into(), attempt, parent, ..TaskRecord::default() }
    }

    fn part(worker: u64, tasks: Vec<TaskRecord>) -> StatePart {
        StatePart { worker, worker_name: format!("w{worker}"), tasks, left_out: 1, ..StatePart::default() }
    }

    #[test]
    fn the_host_of_a_task_knows_more_than_its_owner() {
        let owner = part(1, vec![task(TaskRecordState::Scheduled, 1, "t0"), task(TaskRecordState::Pending, 2, "t0")]);
        let host = part(2, vec![task(TaskRecordState::Running, 1, "")]);
        for parts in [[owner.clone(), host.clone()], [host, owner]] {
            let mut gathered = Gathered::default();
            parts.into_iter().for_each(|part| gathered.add(part));
            let state = gathered.finish();
            let expected = [task(TaskRecordState::Running, 1, "t0"), task(TaskRecordState::Pending, 2, "t0")];
            assert_eq!((state.tasks.as_slice(), state.left_out), (expected.as_slice(), 2));
        }
    }

    #[test]
    fn an_actor_is_as_its_owner_says_in_the_process_that_its_host_says() {
        let record = |state: ActorRecordState, pid| ActorRecord {
            id: "a1".to_owned(),
            state: state.into(),
            pid,
            calls: u64::from(pid),
            ..ActorRecord::default()
        };
        for state in [ActorRecordState::Ready, ActorRecordState::Gone] {
            let (owner, host) = (record(state, 0), record(ActorRecordState::Ready, 7));
            for actors in [[owner.clone(), host.clone()], [host, owner]] {
                let mut gathered = Gathered::default();
                actors.into_iter().for_each(|actor| gathered.add_actor(actor));
                assert_eq!(gathered.finish().actors, [record(state, 7)]);
            }
        }
    }

    #[test]
    fn counts_of_workers_are_added() {
        let count = |finished, longest_us| FunctionSummary {
            job: 7,
            function: "area".to_owned(),
            finished,
            longest_us,
            ..FunctionSummary::default()
        };
        let mut gathered = Gathered::default();
        for count in [count(3, 50), count(4, 20)] {
            gathered.add(StatePart { functions: vec![count], ..StatePart::default() });
        }
        assert_eq!(gathered.finish().functions, [count(7, 50)]);
    }
}
