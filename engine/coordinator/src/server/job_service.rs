//! The clients' side of the coordinator.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use tandem_proto::v1::job_service_server::JobService;
use tandem_proto::v1::{self};
use tandem_proto::{JobId, Term, VERSION, WorkerId};
use tandem_scheduler::{Event, NodeState, NodeView, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::follow::{self, StatusStream};
use super::logs::{ChunkStream, Logs};
use super::message::{ClusterHandle, Seen};
use super::relay::Relay;
use super::submit::Submitter;
use crate::journal::{Journal, StoredReport};
use crate::wire;

/// Serves clients.
pub(crate) struct JobRpc {
    pub(crate) handle: ClusterHandle,
    pub(crate) submitter: Arc<Submitter>,
    /// Must have what clients are told.
    pub(crate) journal: Arc<Journal>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) logs: Logs,
    pub(crate) identity: Identity,
    /// Owns the tasks behind followers' streams; they end with `stopping`.
    pub(crate) tracker: TaskTracker,
    pub(crate) stopping: CancellationToken,
}

/// Who this coordinator is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cluster_name: String,
    pub(crate) term: Term,
    pub(crate) started: Timestamp,
    pub(crate) http: SocketAddr,
}

type Chunks = Pin<Box<dyn Stream<Item = Result<v1::Chunk, Status>> + Send>>;

impl JobRpc {
    /// Shows what `look` finds of a job.
    async fn of_job<T: Send + 'static>(
        &self,
        job: JobId,
        look: impl FnOnce(&Seen<'_>) -> Option<T> + Send + 'static,
    ) -> Result<T, Status> {
        self.handle.look(look).await?.ok_or_else(|| no_such_job(job))
    }

    async fn status(&self, job: JobId, with_plans: bool) -> Result<v1::JobStatus, Status> {
        let (view, face) =
            self.of_job(job, move |seen| Some((seen.cluster.job(job)?, seen.jobs.get(job)?.face.clone()))).await?;
        Ok(wire::job_status(&view, &face, with_plans))
    }
}

#[tonic::async_trait]
impl JobService for JobRpc {
    type FollowStream = StatusStream;
    type RelayFetchStream = Chunks;
    type ReadLogsStream = ChunkStream;

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let job = self.submitter.clone().submit(request.into_inner()).await?;
        let status = self.status(job, false).await?;
        Ok(Response::new(v1::SubmitResponse { job: job.0, status: Some(status) }))
    }

    async fn follow(&self, request: Request<v1::FollowRequest>) -> Result<Response<StatusStream>, Status> {
        let job = JobId(request.into_inner().job);
        let stream = follow::follow(&self.handle, job, &self.tracker, self.stopping.clone()).await?;
        stream.map(Response::new).ok_or_else(|| no_such_job(job))
    }

    async fn stop(&self, request: Request<v1::StopRequest>) -> Result<Response<v1::JobStatus>, Status> {
        let v1::StopRequest { job, reason } = request.into_inner();
        let job = JobId(job);
        self.handle.event(Event::StopRequested { job, reason }).await?;
        Ok(Response::new(self.status(job, false).await?))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::JobStatus>, Status> {
        Ok(Response::new(self.status(JobId(request.into_inner().job), true).await?))
    }

    async fn list(&self, _: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let jobs = self.handle.look(|seen| seen.cluster.jobs()).await?;
        let face = wire::JobFace::default();
        let jobs = jobs.iter().map(|view| wire::job_status(view, &face, false)).collect();
        Ok(Response::new(v1::ListResponse { jobs }))
    }

    /// What it says is finished is on disk, and so not run again by the next coordinator.
    async fn list_tasks(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::ListTasksResponse>, Status> {
        let job = JobId(request.into_inner().job);
        let (view, tasks, journaled) = self
            .of_job(job, move |seen| {
                Some((seen.cluster.job(job)?, seen.cluster.tasks(job)?, seen.jobs.get(job)?.journaled))
            })
            .await?;
        if journaled && let Err(error) = self.journal.flush().await {
            tracing::warn!(%job, %error, "what is shown as finished may be run again after a restart");
        }
        let tasks = tasks.iter().map(|task| wire::task_status(&view, task)).collect();
        Ok(Response::new(v1::ListTasksResponse { tasks }))
    }

    async fn get_report(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::ReportResponse>, Status> {
        let job = JobId(request.into_inner().job);
        let report = self.of_job(job, move |seen| {
            let entry = seen.jobs.get(job)?;
            Some(entry.report.clone().map(|report| (report, entry.report_problem.clone().unwrap_or_default())))
        });
        let missing = || Status::failed_precondition(format!("job {job} has no report yet"));
        let (StoredReport { summary_json, markdown }, problem) = report.await?.ok_or_else(missing)?;
        Ok(Response::new(v1::ReportResponse { summary_json, markdown, problem }))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        let spec = request.into_inner().spec.ok_or_else(|| Status::invalid_argument("there is nothing to explain"))?;
        let planned = self.submitter.plan(spec).await?;
        Ok(Response::new(v1::ExplainResponse { stages: wire::explained(&planned.graph) }))
    }

    async fn relay_fetch(&self, request: Request<v1::RelayFetchRequest>) -> Result<Response<Chunks>, Status> {
        let v1::RelayFetchRequest { worker, fetch } = request.into_inner();
        let worker = WorkerId(worker);
        let fetch = fetch.ok_or_else(|| Status::invalid_argument("there is nothing to fetch"))?;
        let node = self
            .handle
            .look(move |seen| seen.cluster.nodes().into_iter().find(|node| node.worker == worker))
            .await?
            .filter(|node| node.state != NodeState::Lost)
            .ok_or_else(|| Status::not_found(format!("worker {worker} is gone")))?;
        let chunks = self.relay.fetch(worker, &node.info.data_address, fetch).await?;
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn list_nodes(&self, _: Request<v1::ListNodesRequest>) -> Result<Response<v1::ListNodesResponse>, Status> {
        let nodes = self.handle.look(|seen| seen.cluster.nodes()).await?;
        Ok(Response::new(v1::ListNodesResponse { nodes: nodes.iter().map(wire::node_status).collect() }))
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let job = Some(JobId(request.into_inner().job)).filter(|job| job.0 != 0);
        let groups = self.handle.look(move |seen| seen.cluster.groups(job)).await?;
        Ok(Response::new(v1::ListGroupsResponse { groups: groups.iter().map(wire::group_status).collect() }))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeResponse>, Status> {
        let name = request.into_inner().node;
        let nodes = self.handle.look(|seen| seen.cluster.nodes()).await?;
        let worker = find_node(&nodes, &name)?;
        self.handle.event(Event::DrainRequested { worker }).await?;
        let nodes = self.handle.look(|seen| seen.cluster.nodes()).await?;
        let node = nodes.iter().find(|node| node.worker == worker).map(wire::node_status);
        Ok(Response::new(v1::DrainNodeResponse { node }))
    }

    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::ClusterStatus>, Status> {
        let view = self.handle.look(|seen| seen.cluster.summary()).await?;
        let Identity { cluster_name, term, started, http } = &self.identity;
        Ok(Response::new(v1::ClusterStatus {
            name: cluster_name.clone(),
            version: VERSION.to_owned(),
            term: term.0,
            started_ms: i64::try_from(started.0).unwrap_or(i64::MAX),
            http_address: http.to_string(),
            ..wire::cluster_status(&view)
        }))
    }

    async fn read_logs(&self, request: Request<v1::ReadLogsRequest>) -> Result<Response<ChunkStream>, Status> {
        let request = request.into_inner();
        let job = JobId(request.job);
        self.logs.read(request).await?.map(Response::new).ok_or_else(|| no_such_job(job))
    }
}

fn no_such_job(job: JobId) -> Status {
    Status::not_found(format!("there is no job {job}"))
}

/// The worker with this id, or the one that is there and has this name.
fn find_node(nodes: &[NodeView], text: &str) -> Result<WorkerId, Status> {
    let present: Vec<_> = nodes.iter().filter(|node| node.state != NodeState::Lost).collect();
    let by_id = text.parse().ok().filter(|id| present.iter().any(|node| node.worker == *id));
    let named: Vec<_> = present.iter().filter(|node| node.info.name == text).map(|node| node.worker).collect();
    match (by_id, named.as_slice()) {
        (Some(worker), _) => Ok(worker),
        (None, [worker]) => Ok(*worker),
        (None, []) => Err(Status::not_found(format!("there is no node {text}"))),
        (None, [..]) => {
            let ids: Vec<_> = named.iter().map(ToString::to_string).collect();
            let text = format!("{} nodes are called {text}\nhelp: name one by its id: {}", named.len(), ids.join(", "));
            Err(Status::invalid_argument(text))
        }
    }
}
