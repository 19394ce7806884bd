//! The HTTP port, and what it says about the worker.

use std::sync::Arc;

use tandem_proto::transport::{Health, HttpPort, ServerSecurity, health_router};
use tokio::net::TcpListener;
use tracing::error;

use crate::error::WorkerError;
use crate::status::StatusBoard;

/// Serves until dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    security: ServerSecurity,
    board: Arc<StatusBoard>,
) -> Result<(), WorkerError> {
    let port = HttpPort::new(listener, security.tls.as_ref())?;
    let served = port.serve(health_router(Port(board), security.token), std::future::pending()).await;
    served.map_err(|error| WorkerError::Serve { listener: "HTTP", reason: error.to_string() })
}

#[derive(Clone)]
struct Port(Arc<StatusBoard>);

impl Health for Port {
    async fn ready(&self) -> Result<(), String> {
        let attached = self.0.readings().attached;
        attached.then_some(()).ok_or_else(|| "the coordinator does not know this worker (yet)".to_owned())
    }

    async fn metrics(&self) -> Result<String, String> {
        let text = self.0.render().inspect_err(|error| error!(%error, "the metrics cannot be rendered"));
        text.map_err(|error| format!("the metrics cannot be rendered: {error}"))
    }
}
