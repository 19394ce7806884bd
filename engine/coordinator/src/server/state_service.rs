//! What is to be seen of tasks, actors and objects: asked of every worker at once, passed on as it comes. Nothing of it is kept here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use tandem_proto::v1::state_service_client::StateServiceClient;
use tandem_proto::v1::state_service_server::StateService;
use tandem_proto::v1::{ListStateRequest, StatePart};
use tandem_scheduler::{NodeState, NodeView};
use tonic::{Request, Response, Status};

use super::message::ClusterHandle;
use super::relay::Relay;

/// A worker that has not answered by then is named as one that did not.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Serves clients.
pub(crate) struct StateRpc {
    pub(crate) handle: ClusterHandle,
    pub(crate) relay: Arc<Relay>,
}

type Parts = Pin<Box<dyn Stream<Item = Result<StatePart, Status>> + Send>>;

#[tonic::async_trait]
impl StateService for StateRpc {
    type ListStream = Parts;

    async fn list(&self, request: Request<ListStateRequest>) -> Result<Response<Parts>, Status> {
        let request = request.into_inner();
        let nodes = self.handle.look(|seen| seen.cluster.nodes()).await?;
        let answers = nodes
            .into_iter()
            .filter(|node| node.state != NodeState::Lost)
            .map(|node| answer(Arc::clone(&self.relay), node, request.clone()));
        Ok(Response::new(Box::pin(stream::select_all(answers))))
    }
}

/// What one worker says, or that it says nothing.
fn answer(
    relay: Arc<Relay>,
    node: NodeView,
    request: ListStateRequest,
) -> BoxStream<'static, Result<StatePart, Status>> {
    let silent = StatePart { worker: node.worker.0, worker_name: node.info.name.clone(), ..StatePart::default() };
    let asked = async move {
        let channel = relay.channel(node.worker, &node.info.data_address).await?;
        let mut worker = StateServiceClient::new(channel);
        match tokio::time::timeout(ANSWER_WITHIN, worker.list(request)).await {
            Ok(parts) => Ok(parts?.into_inner()),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
        }
    };
    let failed = move |status: &Status| StatePart { error: status.message().to_owned(), ..silent.clone() };
    let parts = stream::once(asked).flat_map(|parts| match parts {
        Ok(parts) => parts.left_stream(),
        Err(status) => stream::iter([Err(status)]).right_stream(),
    });
    parts.map(move |part| Ok(part.unwrap_or_else(|status| failed(&status)))).boxed()
}
