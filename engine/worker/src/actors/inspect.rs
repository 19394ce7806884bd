//! What is to be seen of the tasks, actors, objects and processes of this worker, on its data port.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::{Stream, stream};
use tandem_node::views::{ActorStateView, ActorView, ExecutorStateView, ExecutorView, LiveCounts};
use tandem_node::views::{ObjectStateView, ObjectView, TaskStateView, TaskView};
use tandem_node::{Ended, Node, Tally, Timestamp};
use tandem_proto::v1::state_service_server::{StateService, StateServiceServer};
use tandem_proto::v1::{self, ListStateRequest, StateKind, StatePart};
use tandem_proto::{JobId, WorkerId};
use tandem_runtime::RuntimeHandle;
use tonic::{Request, Response, Status};

/// Records in one message.
const PART_RECORDS: usize = 1_000;
/// Records of one answer; making more would keep the node from its work.
const MAX_RECORDS: usize = 100_000;

/// Serves [`StateService`] for one worker.
pub(crate) struct StatePort {
    pub(crate) worker: WorkerId,
    pub(crate) worker_name: String,
    pub(crate) runtime: RuntimeHandle,
}

type Parts = Pin<Box<dyn Stream<Item = Result<StatePart, Status>> + Send>>;

/// What one look at the node found.
#[derive(Default)]
struct Found {
    tasks: Vec<v1::TaskRecord>,
    actors: Vec<v1::ActorRecord>,
    objects: Vec<v1::ObjectRecord>,
    processes: Vec<v1::ProcessRecord>,
    functions: Vec<v1::FunctionSummary>,
    left_out: u64,
    forgotten: u64,
}

/// What of the node is looked for.
struct Wanted {
    job: Option<JobId>,
    id: String,
    runtime: RuntimeHandle,
    worker: WorkerId,
}

impl StatePort {
    /// The service for the worker's data port.
    pub(crate) fn service(self) -> StateServiceServer<Self> {
        StateServiceServer::new(self)
    }

    fn parts(&self, found: Found) -> Vec<Result<StatePart, Status>> {
        let Found { tasks, actors, objects, processes, functions, left_out, forgotten } = found;
        let part =
            || StatePart { worker: self.worker.0, worker_name: self.worker_name.clone(), ..StatePart::default() };
        // The first one comes in any case.
        let mut parts = vec![StatePart { left_out, forgotten, ..part() }];
        parts.extend(pieces(tasks).map(|tasks| StatePart { tasks, ..part() }));
        parts.extend(pieces(actors).map(|actors| StatePart { actors, ..part() }));
        parts.extend(pieces(objects).map(|objects| StatePart { objects, ..part() }));
        parts.extend(pieces(processes).map(|processes| StatePart { processes, ..part() }));
        parts.extend(pieces(functions).map(|functions| StatePart { functions, ..part() }));
        parts.into_iter().map(Ok).collect()
    }
}

#[tonic::async_trait]
impl StateService for StatePort {
    type ListStream = Parts;

    async fn list(&self, request: Request<ListStateRequest>) -> Result<Response<Parts>, Status> {
        let request = request.into_inner();
        let kind = request.kind();
        let job = (request.job != 0).then_some(JobId(request.job));
        let wanted = Wanted { job, id: request.id, runtime: self.runtime.clone(), worker: self.worker };
        let found = self.runtime.look(move |node: &mut Node| wanted.find(kind, node)).await;
        let found = found.ok_or_else(|| Status::unavailable("the worker is stopping"))??;
        Ok(Response::new(Box::pin(stream::iter(self.parts(found)))))
    }
}

impl Wanted {
    fn find(&self, kind: StateKind, node: &Node) -> Result<Found, Status> {
        let mut found = Found::default();
        match kind {
            StateKind::Tasks => self.find_tasks(node, &mut found),
            StateKind::Actors => {
                found.actors = self.limited(node.actors(self.job).map(|actor| self.actor(actor)), |actor| &actor.id);
                found.left_out = self.left_out(node.actor_count(self.job), found.actors.len());
            }
            StateKind::Objects => {
                let objects = node.objects(self.job).map(|object| self.object(object));
                found.objects = self.limited(objects, |object| &object.id);
                found.left_out = self.left_out(node.object_count(self.job), found.objects.len());
            }
            StateKind::Processes => found.processes = node.executors(self.job).map(process).collect(),
            StateKind::Summary => found.functions = self.functions(node),
            StateKind::Unspecified => return Err(Status::invalid_argument("it does not say what to list")),
        }
        Ok(found)
    }

    fn find_tasks(&self, node: &Node, found: &mut Found) {
        let (ended, forgotten) = node.ended(self.job);
        found.forgotten = forgotten;
        if let Ok(call) = self.id.parse() {
            found.tasks.extend(node.task(call).map(|task| self.task(task)));
            found.tasks.extend(ended.filter(|ended| ended.call == call).map(|ended| self.ended(ended)));
        } else if self.id.is_empty() {
            let all = node.tasks(self.job).map(|task| self.task(task));
            found.tasks = all.chain(ended.map(|ended| self.ended(ended))).take(MAX_RECORDS).collect();
            let total = node.task_count(self.job) + node.ended(self.job).0.count();
            found.left_out = self.left_out(total, found.tasks.len());
        }
    }

    /// The records that are looked for, up to the limit.
    fn limited<T>(&self, records: impl Iterator<Item = T>, id: impl Fn(&T) -> &str) -> Vec<T> {
        records.filter(|record| self.id.is_empty() || id(record) == self.id).take(MAX_RECORDS).collect()
    }

    /// How many records there are beyond the limit. They are not made to be counted.
    fn left_out(&self, total: usize, found: usize) -> u64 {
        if self.id.is_empty() { total.saturating_sub(found) as u64 } else { 0 }
    }

    fn task(&self, view: TaskView) -> v1::TaskRecord {
        v1::TaskRecord {
            job: view.job.0,
            id: view.call.to_string(),
            actor: view.actor.map(|actor| actor.to_string()).unwrap_or_default(),
            function: view.function.to_string(),
            name: view.name,
            state: task_state(view.state).into(),
            reason: view.reason,
            attempt: view.attempt,
            began_us: view.began.map_or(0, |at| self.unix_us(at)),
            ended_us: 0,
            host: view.host.map_or(0, |host| host.0),
            pid: view.pid.unwrap_or_default(),
            parent: view.parent.map(|parent| parent.to_string()).unwrap_or_default(),
        }
    }

    fn ended(&self, ended: &Ended) -> v1::TaskRecord {
        let state = match ended.failure {
            Some(_) => v1::TaskRecordState::Failed,
            None => v1::TaskRecordState::Finished,
        };
        v1::TaskRecord {
            job: ended.job.0,
            id: ended.call.to_string(),
            actor: ended.actor.map(|actor| actor.to_string()).unwrap_or_default(),
            function: ended.function.to_string(),
            name: ended.name.as_deref().unwrap_or(&ended.function).to_owned(),
            state: state.into(),
            reason: ended.failure.as_deref().map(|(_, text)| text.clone()).unwrap_or_default(),
            attempt: ended.attempt,
            began_us: ended.began.map_or(0, |at| self.unix_us(at)),
            ended_us: self.unix_us(ended.ended),
            host: self.worker.0,
            pid: ended.pid.unwrap_or_default(),
            parent: String::new(),
        }
    }

    fn actor(&self, view: ActorView) -> v1::ActorRecord {
        let state = match view.state {
            ActorStateView::Pending => v1::ActorRecordState::Pending,
            ActorStateView::Starting => v1::ActorRecordState::Starting,
            ActorStateView::Ready => v1::ActorRecordState::Ready,
            ActorStateView::Ending => v1::ActorRecordState::Ending,
            ActorStateView::Gone => v1::ActorRecordState::Gone,
        };
        v1::ActorRecord {
            job: view.job.0,
            id: view.actor.to_string(),
            class: view.class,
            name: view.name,
            state: state.into(),
            reason: view.reason,
            starts: view.starts,
            host: view.host.map_or(0, |host| host.0),
            pid: view.pid.unwrap_or_default(),
            calls: view.calls as u64,
        }
    }

    fn object(&self, view: ObjectView) -> v1::ObjectRecord {
        let state = match view.state {
            ObjectStateView::Pending => v1::ObjectRecordState::Pending,
            ObjectStateView::Ready => v1::ObjectRecordState::Ready,
            ObjectStateView::Failed => v1::ObjectRecordState::Failed,
        };
        v1::ObjectRecord {
            job: view.job.0,
            id: view.object.to_string(),
            state: state.into(),
            bytes: view.bytes,
            local: view.local,
            holder: view.holder.map_or(0, |holder| holder.0),
            owner: tandem_actor_protocol::object_owner(view.object).0,
            made_by: view.made_by,
            processes: view.processes,
            uses: view.uses,
            borrowers: view.borrowers,
            pids: view.pids,
            task: view.call.map(|call| call.to_string()).unwrap_or_default(),
        }
    }

    fn functions(&self, node: &Node) -> Vec<v1::FunctionSummary> {
        let live = node.live_counts(self.job).into_iter().map(|(job, function, counts)| live(job, &function, counts));
        let ended = node.tallies(self.job).map(|(job, function, tally)| tallied(job, function, tally));
        live.chain(ended).collect()
    }

    fn unix_us(&self, at: Timestamp) -> i64 {
        unix_us(self.runtime.wall_time(at))
    }
}

/// As many as go into one message.
fn pieces<T>(records: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut records = records.into_iter().peekable();
    std::iter::from_fn(move || {
        records.peek()?;
        Some(records.by_ref().take(PART_RECORDS).collect())
    })
}

fn unix_us(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

fn task_state(state: TaskStateView) -> v1::TaskRecordState {
    match state {
        TaskStateView::Pending => v1::TaskRecordState::Pending,
        TaskStateView::Sent => v1::TaskRecordState::Scheduled,
        TaskStateView::Running => v1::TaskRecordState::Running,
        TaskStateView::Blocked => v1::TaskRecordState::Blocked,
        TaskStateView::Finished => v1::TaskRecordState::Finished,
    }
}

fn process(view: ExecutorView) -> v1::ProcessRecord {
    let state = match view.state {
        ExecutorStateView::Starting => "STARTING",
        ExecutorStateView::Idle => "IDLE",
        ExecutorStateView::Busy => "BUSY",
        ExecutorStateView::Blocked => "BLOCKED",
        ExecutorStateView::Ending => "ENDING",
    };
    v1::ProcessRecord {
        job: view.job.0,
        pid: view.pid.unwrap_or_default(),
        purpose: view.purpose,
        state: state.to_owned(),
        task: view.calls.first().map(ToString::to_string).unwrap_or_default(),
        objects: view.objects as u64,
    }
}

fn live(job: JobId, function: &Arc<str>, counts: LiveCounts) -> v1::FunctionSummary {
    v1::FunctionSummary {
        job: job.0,
        function: function.to_string(),
        pending: counts.pending,
        scheduled: counts.sent,
        running: counts.running,
        blocked: counts.blocked,
        ..v1::FunctionSummary::default()
    }
}

fn tallied(job: JobId, function: &Arc<str>, tally: Tally) -> v1::FunctionSummary {
    v1::FunctionSummary {
        job: job.0,
        function: function.to_string(),
        finished: tally.finished,
        failed: tally.failed,
        run_us: tally.run_us,
        longest_us: tally.longest_us,
        ..v1::FunctionSummary::default()
    }
}
