//! The connection to a coordinator and its requests, one method each.

use std::future::Future;
use std::sync::Arc;

use tandem_proto::transport::{self, AuthorizedChannel, ClientSecurity};
use tandem_proto::v1::job_service_client::JobServiceClient;
use tandem_proto::v1::package_service_client::PackageServiceClient;
use tandem_proto::{JobId, v1};
use tonic::{Response, Status, Streaming};

use crate::error::{ClientError, is_broken_connection};
use crate::follow::Follow;
use crate::logs::Logs;
use crate::own_rows::OwnRows;
use crate::patience::Patience;
use crate::results::Results;
use crate::worker_reads::WorkerConnections;

/// Largest answer that is accepted: the list of some hundred thousand tasks.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A connection to one coordinator. Cheap to clone; reconnects by itself.
#[derive(Clone)]
pub struct Client {
    address: Arc<str>,
    security: Arc<ClientSecurity>,
    channel: AuthorizedChannel,
    jobs: JobServiceClient<AuthorizedChannel>,
    workers: Arc<WorkerConnections>,
    own_rows: Option<Arc<dyn OwnRows>>,
    packages: PackageServiceClient<AuthorizedChannel>,
}

/// What to run and how it is tied to its client.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The job.
    pub spec: v1::JobSpec,
    /// Whether the job ends with its last follower.
    pub attached: bool,
    /// Names this request, so that repeating it does not start a second job.
    pub submission_id: String,
}

impl Client {
    /// Connects to the coordinator at `address` (`host:port`).
    pub async fn connect(address: &str, security: ClientSecurity) -> Result<Self, ClientError> {
        let channel = transport::connect(address, &security).await.map_err(ClientError::from_connect)?;
        Ok(Self::over(channel, address, security))
    }

    /// A client over a connection that is there. With `security` it connects to workers.
    pub fn over(channel: AuthorizedChannel, address: &str, security: ClientSecurity) -> Self {
        Self {
            address: address.into(),
            security: Arc::new(security),
            jobs: JobServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
            packages: PackageServiceClient::new(channel.clone()),
            channel,
            workers: Arc::default(),
            own_rows: None,
        }
    }

    /// Reads from `rows` what is there, before anyone else is asked.
    #[must_use]
    pub fn with_own_rows(self, rows: Arc<dyn OwnRows>) -> Self {
        Self { own_rows: Some(rows), ..self }
    }

    /// Where the coordinator is.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn channel(&self) -> AuthorizedChannel {
        self.channel.clone()
    }

    pub(crate) fn packages(&self) -> PackageServiceClient<AuthorizedChannel> {
        self.packages.clone()
    }

    pub(crate) fn security(&self) -> &ClientSecurity {
        &self.security
    }

    pub(crate) fn workers(&self) -> &WorkerConnections {
        &self.workers
    }

    pub(crate) fn own_rows(&self) -> Option<&dyn OwnRows> {
        self.own_rows.as_deref()
    }

    /// Has the job planned and accepted. Once this returns, a submitted job survives client and coordinator. A
    /// coordinator that goes away meanwhile is asked again when it is back, if the submission has an id to know it by.
    pub async fn submit(&self, submission: Submission) -> Result<v1::SubmitResponse, ClientError> {
        let Submission { spec, attached, submission_id } = submission;
        let request = v1::SubmitRequest { spec: Some(spec), attached, submission_id };
        let mut patience = Patience::from_now();
        loop {
            match self.jobs.clone().submit(request.clone()).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => {
                    let again = is_broken_connection(&status) && !request.submission_id.is_empty();
                    if !again || !patience.wait().await {
                        return Err(ClientError::from_status(&self.address, &status));
                    }
                }
            }
        }
    }

    /// Follows a job from its status now to its end, also over restarts of the coordinator.
    pub async fn follow(&self, job: JobId) -> Result<Follow, ClientError> {
        Follow::start(self.clone(), job).await
    }

    pub(crate) async fn subscribe(&self, job: JobId) -> Result<Streaming<v1::JobStatus>, Status> {
        self.jobs.clone().follow(v1::FollowRequest { job: job.0 }).await.map(Response::into_inner)
    }

    /// What the processes of a job said, oldest first; with `follow`, to the job's end, also over restarts of the coordinator.
    pub async fn logs(&self, request: v1::ReadLogsRequest) -> Result<Logs, ClientError> {
        Logs::start(self.clone(), request).await
    }

    pub(crate) async fn subscribe_logs(&self, request: v1::ReadLogsRequest) -> Result<Streaming<v1::LogChunk>, Status> {
        self.jobs.clone().read_logs(request).await.map(Response::into_inner)
    }

    /// The rows of a query, partition after partition as they are ready.
    pub async fn results(&self, job: JobId) -> Result<Results, ClientError> {
        Ok(Results::new(self.clone(), self.follow(job).await?))
    }

    /// Asks for the end of a job; its status says when it has ended.
    pub async fn stop(&self, job: JobId, reason: &str) -> Result<v1::JobStatus, ClientError> {
        let request = v1::StopRequest { job: job.0, reason: reason.to_owned() };
        self.answer(self.jobs.clone().stop(request)).await
    }

    /// One job, with the plans of its stages.
    pub async fn get(&self, job: JobId) -> Result<v1::JobStatus, ClientError> {
        self.answer(self.jobs.clone().get(v1::GetRequest { job: job.0 })).await
    }

    /// The jobs the coordinator knows.
    pub async fn list(&self) -> Result<Vec<v1::JobStatus>, ClientError> {
        Ok(self.answer(self.jobs.clone().list(v1::ListRequest {})).await?.jobs)
    }

    /// Every attempt of every task of a job.
    pub async fn tasks(&self, job: JobId) -> Result<Vec<v1::TaskStatus>, ClientError> {
        Ok(self.answer(self.jobs.clone().list_tasks(v1::GetRequest { job: job.0 })).await?.tasks)
    }

    /// What a finished job read, rejected and wrote, and how long its stages took.
    pub async fn report(&self, job: JobId) -> Result<v1::ReportResponse, ClientError> {
        self.answer(self.jobs.clone().get_report(v1::GetRequest { job: job.0 })).await
    }

    /// The stages a job would have. Nothing runs.
    pub async fn explain(&self, spec: v1::JobSpec) -> Result<Vec<v1::StageStatus>, ClientError> {
        Ok(self.answer(self.jobs.clone().explain(v1::ExplainRequest { spec: Some(spec) })).await?.stages)
    }

    /// The workers.
    pub async fn nodes(&self) -> Result<Vec<v1::NodeStatus>, ClientError> {
        Ok(self.answer(self.jobs.clone().list_nodes(v1::ListNodesRequest {})).await?.nodes)
    }

    /// The placement groups of a job, or all of them.
    pub async fn groups(&self, job: Option<JobId>) -> Result<Vec<v1::PlacementGroupStatus>, ClientError> {
        let request = v1::ListGroupsRequest { job: job.map_or(0, |job| job.0) };
        Ok(self.answer(self.jobs.clone().list_groups(request)).await?.groups)
    }

    /// Gives a worker, by name or id, no more tasks.
    pub async fn drain(&self, node: &str) -> Result<v1::NodeStatus, ClientError> {
        let request = v1::DrainNodeRequest { node: node.to_owned() };
        let response = self.answer(self.jobs.clone().drain_node(request)).await?;
        response.node.ok_or_else(|| ClientError::Protocol("a drained node without a status".to_owned()))
    }

    /// The cluster as a whole.
    pub async fn cluster(&self) -> Result<v1::ClusterStatus, ClientError> {
        self.answer(self.jobs.clone().get_cluster(v1::GetClusterRequest {})).await
    }

    /// Reads a worker's output through the coordinator.
    pub(crate) async fn relay(&self, request: v1::RelayFetchRequest) -> Result<Streaming<v1::Chunk>, Status> {
        self.jobs.clone().relay_fetch(request).await.map(Response::into_inner)
    }

    async fn answer<T>(&self, request: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, ClientError> {
        match request.await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(ClientError::from_status(&self.address, &status)),
        }
    }
}
