//! Calls to the coordinator besides the attach stream: the definitions of stages.
//!
//! The coordinator may be away for a while; then a call waits and tries again, for as long as its caller is interested.

use std::time::Duration;

use prost::Message;
use tandem_exec::error::TaskError;
use tandem_proto::transport::AuthorizedChannel;
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::{GetStageRequest, StageDefinition};
use tokio::sync::watch;
use tonic::{Code, Status};
use tracing::debug;

/// More than any plan; less than what a broken coordinator could fill the memory with.
const MAX_DEFINITION_BYTES: usize = 256 << 20;
const RETRY_DELAY: Duration = Duration::from_millis(200);

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

    async fn connected(&self) -> Result<AuthorizedChannel, Status> {
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
fn is_final(status: &Status) -> bool {
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
