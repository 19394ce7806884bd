//! The HTTP port: `/healthz` and `/readyz` for everyone, `/metrics` for who shows the token.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tandem_proto::transport::{HttpPort, ServerSecurity, Token};
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
    let served = port.serve(router(board, security.token), std::future::pending()).await;
    served.map_err(|error| WorkerError::Serve { listener: "HTTP", reason: error.to_string() })
}

/// Everything the HTTP port can be asked.
fn router(board: Arc<StatusBoard>, token: Token) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Port { board, token })
}

#[derive(Clone)]
struct Port {
    board: Arc<StatusBoard>,
    token: Token,
}

async fn ready(State(port): State<Port>) -> (StatusCode, &'static str) {
    if port.board.readings().attached {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the coordinator does not know this worker (yet)\n")
    }
}

async fn metrics(State(port): State<Port>, headers: HeaderMap) -> Response {
    if !headers.get(AUTHORIZATION).is_some_and(|shown| port.token.is_shown_by(shown.as_bytes())) {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "the token is missing or wrong\n")
            .into_response();
    }
    match port.board.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            error!(%error, "metrics cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be rendered\n").into_response()
        }
    }
}
