//! The HTTP port: `/healthz` and `/readyz` for everyone, `/metrics` for who shows the token.

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tandem_proto::transport::Token;
use tracing::error;

use crate::clock::Clock;
use crate::metrics::Snapshot;
use crate::server::ClusterHandle;

/// What the port shows and to whom.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) handle: ClusterHandle,
    pub(crate) clock: Clock,
    pub(crate) token: Token,
}

/// Everything the port can be asked.
pub(crate) fn router(port: Port) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(port)
}

/// Ready is whoever gets an answer from the cluster's owner.
async fn ready(State(port): State<Port>) -> Response {
    match port.handle.look(|_| ()).await {
        Ok(()) => "ok\n".into_response(),
        Err(stopping) => (StatusCode::SERVICE_UNAVAILABLE, format!("{stopping}\n")).into_response(),
    }
}

async fn metrics(State(port): State<Port>, headers: HeaderMap) -> Response {
    if !headers.get(AUTHORIZATION).is_some_and(|shown| port.token.is_shown_by(shown.as_bytes())) {
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "the token is missing or wrong\n").into_response();
    }
    let (started, now) = (port.clock.started(), port.clock.now());
    let snapshot = match port.handle.look(move |seen| Snapshot::of(seen, started, now)).await {
        Ok(snapshot) => snapshot,
        Err(stopping) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{stopping}\n")).into_response(),
    };
    match snapshot.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            error!(%error, "the metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
