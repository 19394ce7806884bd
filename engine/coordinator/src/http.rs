//! What the HTTP port says about the coordinator.

use tandem_proto::transport::Health;
use tracing::error;

use crate::clock::Clock;
use crate::metrics::Snapshot;
use crate::server::ClusterHandle;

/// What the port shows.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) handle: ClusterHandle,
    pub(crate) clock: Clock,
}

impl Health for Port {
    /// Ready is whoever gets an answer from the cluster's owner.
    async fn ready(&self) -> Result<(), String> {
        self.handle.look(|_| ()).await.map_err(|stopping| stopping.to_string())
    }

    async fn metrics(&self) -> Result<String, String> {
        let (started, now) = (self.clock.started(), self.clock.now());
        let snapshot = self.handle.look(move |seen| Snapshot::of(seen, started, now)).await;
        let snapshot = snapshot.map_err(|stopping| stopping.to_string())?;
        let text = snapshot.render().inspect_err(|error| error!(%error, "the metrics cannot be rendered"));
        text.map_err(|error| format!("the metrics cannot be rendered: {error}"))
    }
}
