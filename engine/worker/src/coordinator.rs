//! Calls to the coordinator besides the attach stream: stages, programs and their packages, names of actors, log lines.
//!
//! The coordinator may be away for a while; then a call waits and tries again, for as long as its caller is interested.

use std::time::Duration;

use prost::Message;
use tandem_exec::error::TaskError;
use tandem_proto::JobId;
use tandem_proto::transport::AuthorizedChannel;
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::package_service_client::PackageServiceClient;
use tandem_proto::v1::{
    Chunk, ClaimNameRequest, DownloadPackageRequest, DropNameRequest, FindNameRequest, GetProgramRequest,
    GetStageRequest, JobProgram, LogAck, LogBatch, NamedActor, StageDefinition,
};
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tracing::debug;

/// More than any plan; less than what a broken coordinator could fill the memory with.
const MAX_DEFINITION_BYTES: usize = 256 << 20;
const RETRY_DELAY: Duration = Duration::from_millis(200);

type Client = ClusterServiceClient<AuthorizedChannel>;

/// The connection that the attach stream uses, once there is one.
#[derive(Debug, Clone)]
pub(crate) struct CoordinatorCalls {
    channel: watch::Receiver<Option<AuthorizedChannel>>,
}

impl CoordinatorCalls {
    /// Calls over the latest channel sent.
    pub(crate) fn new(channel: watch::Receiver<Option<AuthorizedChannel>>) -> Self {
        Self { channel }
    }

    /// The definition of one stage, in one version of its inputs.
    ///
    /// # Errors
    /// The coordinator does not know it, or what it sent is not one. Not being reachable is no error.
    pub(crate) async fn stage(&self, request: GetStageRequest) -> Result<StageDefinition, TaskError> {
        loop {
            match self.try_stage(request).await {
                Ok(encoded) => return decode(&encoded),
                Err(status) if is_final(&status) => {
                    return Err(TaskError::Retry(format!(
                        "the coordinator gave no stage definition: {}",
                        status.message()
                    )));
                }
                Err(status) => debug!(%status, stage = request.stage, "cannot get the stage definition yet"),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    /// What executors of a job run.
    ///
    /// # Errors
    /// The coordinator does not know it. Not being reachable is no error.
    pub(crate) async fn program(&self, job: JobId) -> Result<JobProgram, Status> {
        let request = GetProgramRequest { job: job.0 };
        let call = |mut client: Client| async move { Ok(client.get_program(request).await?.into_inner()) };
        self.until_answered("program", call).await
    }

    /// Gives an actor a name, and says who has it now.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub(crate) async fn claim_name(&self, request: ClaimNameRequest) -> Result<NamedActor, Status> {
        let call = |mut client: Client| {
            let request = request.clone();
            async move { Ok(client.claim_name(request).await?.into_inner()) }
        };
        self.until_answered("claim of a name", call).await
    }

    /// Who has a name.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub(crate) async fn find_name(&self, request: FindNameRequest) -> Result<NamedActor, Status> {
        let call = |mut client: Client| {
            let request = request.clone();
            async move { Ok(client.find_name(request).await?.into_inner()) }
        };
        self.until_answered("name", call).await
    }

    /// Frees the names of an actor.
    ///
    /// # Errors
    /// As [`Self::program`].
    pub(crate) async fn drop_name(&self, request: DropNameRequest) -> Result<(), Status> {
        let call = |mut client: Client| {
            let request = request.clone();
            async move { client.drop_name(request).await.map(drop) }
        };
        self.until_answered("end of a name", call).await
    }

    /// The bytes of a package or attached file, from `offset` on.
    ///
    /// # Errors
    /// What the coordinator or the way to it said.
    pub(crate) async fn download(
        &self,
        package: &str,
        attached: bool,
        offset: u64,
    ) -> Result<Streaming<Chunk>, Status> {
        let channel = self.connected().await?;
        let request = DownloadPackageRequest { package: package.to_owned(), offset, attached };
        Ok(PackageServiceClient::new(channel).download(request).await?.into_inner())
    }

    /// Sends log lines, and returns what is said about them.
    ///
    /// # Errors
    /// What the coordinator or the way to it said.
    pub(crate) async fn ship_logs(&self, batches: ReceiverStream<LogBatch>) -> Result<Streaming<LogAck>, Status> {
        let channel = self.connected().await?;
        Ok(ClusterServiceClient::new(channel).ship_logs(batches).await?.into_inner())
    }

    /// Calls until the coordinator itself has answered.
    async fn until_answered<T, F: Future<Output = Result<T, Status>> + Send>(
        &self,
        what: &str,
        call: impl Fn(Client) -> F,
    ) -> Result<T, Status> {
        loop {
            let answered = match self.connected().await {
                Ok(channel) => call(ClusterServiceClient::new(channel)).await,
                Err(status) => Err(status),
            };
            match answered {
                Err(status) if !is_final(&status) => debug!(%status, what, "the coordinator does not answer yet"),
                answered => return answered,
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    async fn try_stage(&self, request: GetStageRequest) -> Result<Vec<u8>, Status> {
        let channel = self.connected().await?;
        let mut parts = ClusterServiceClient::new(channel).get_stage(request).await?.into_inner();
        let mut encoded = Vec::new();
        while let Some(part) = parts.message().await? {
            if encoded.len() + part.data.len() > MAX_DEFINITION_BYTES {
                return Err(Status::out_of_range(format!("it is larger than {MAX_DEFINITION_BYTES} bytes")));
            }
            encoded.extend_from_slice(&part.data);
        }
        Ok(encoded)
    }

    /// The connection, as soon as there is one.
    ///
    /// # Errors
    /// When there will be none.
    pub(crate) async fn connected(&self) -> Result<AuthorizedChannel, Status> {
        let mut latest = self.channel.clone();
        let channel = latest.wait_for(Option::is_some).await.map_err(|_| Status::aborted("the worker is stopping"))?;
        channel.clone().ok_or_else(|| Status::unavailable("not connected"))
    }
}

fn decode(encoded: &[u8]) -> Result<StageDefinition, TaskError> {
    StageDefinition::decode(encoded)
        .map_err(|error| TaskError::Retry(format!("the coordinator's stage definition cannot be decoded: {error}")))
}

/// Whether the coordinator itself said no; everything else is the way to it.
pub(crate) fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::NotFound
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Aborted
            | Code::Unimplemented
            | Code::PermissionDenied
            | Code::Unauthenticated
    )
}
