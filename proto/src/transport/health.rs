//! What every HTTP port can be asked: `/healthz` and `/readyz` by everyone, `/metrics` by who shows the token.

use axum::Router;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Token;

/// Prometheus text.
const METRICS_FORMAT: &str = "text/plain; version=0.0.4";

/// What a process says about itself.
pub trait Health: Clone + Send + Sync + 'static {
    /// Whether it can do its work; else what is missing.
    fn ready(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Its metrics as Prometheus reads them; else why there are none.
    fn metrics(&self) -> impl Future<Output = Result<String, String>> + Send;
}

/// The routes of an HTTP port that shows `health`, and its metrics to who shows `token`.
pub fn health_router<H: Health>(health: H, token: Token) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready::<H>))
        .route("/metrics", get(metrics::<H>))
        .with_state(Port { health, token })
}

#[derive(Clone)]
struct Port<H> {
    health: H,
    token: Token,
}

async fn ready<H: Health>(State(port): State<Port<H>>) -> Response {
    match port.health.ready().await {
        Ok(()) => "ok\n".into_response(),
        Err(missing) => unavailable(&missing),
    }
}

async fn metrics<H: Health>(State(port): State<Port<H>>, headers: HeaderMap) -> Response {
    if !headers.get(AUTHORIZATION).is_some_and(|shown| port.token.is_shown_by(shown.as_bytes())) {
        let challenge = [(WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "the token is missing or wrong\n").into_response();
    }
    match port.health.metrics().await {
        Ok(text) => ([(CONTENT_TYPE, METRICS_FORMAT)], text).into_response(),
        Err(reason) => unavailable(&reason),
    }
}

fn unavailable(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response()
}
