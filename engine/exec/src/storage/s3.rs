//! S3 stores: credentials from a job's environment, and retries short enough that storage which is denied or out of
//! reach is one error within seconds instead of a hang.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::SpawnedReqwestConnector;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use tokio::runtime::Handle;
use url::Url;

use crate::error::PlanError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Of one request with its body; a body is at most one multipart part or read-ahead block.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// After this long no further attempt of a request is started.
const RETRY_WINDOW: Duration = Duration::from_secs(8);
const MAX_RETRIES: usize = 5;

/// Opens the bucket that `url` names.
pub(super) fn open(
    url: &Url,
    environment: &BTreeMap<String, String>,
    io: Option<&Handle>,
) -> Result<Arc<AmazonS3>, PlanError> {
    let bucket = url.host_str().unwrap_or_default();
    let get = |key: &str| environment.get(key).filter(|value| !value.is_empty());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(get("AWS_REGION").or(get("AWS_DEFAULT_REGION")).map_or("us-east-1", String::as_str))
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: MAX_RETRIES,
            retry_timeout: RETRY_WINDOW,
        });
    match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret),
        _ if get("AWS_SKIP_SIGNATURE").is_some_and(|value| is_true(value)) => {
            builder = builder.with_skip_signature(true);
        }
        (id, _) => return Err(missing_credential(url, id.is_none())),
    }
    if let Some(token) = get("AWS_SESSION_TOKEN") {
        builder = builder.with_token(token);
    }
    let mut allow_http = get("AWS_ALLOW_HTTP").is_some_and(|value| is_true(value));
    if let Some(endpoint) = get("AWS_ENDPOINT_URL") {
        // Naming an http endpoint is consent to plain http; custom endpoints rarely have a name per bucket.
        allow_http |= endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false);
    }
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
        .with_allow_http(allow_http);
    builder = builder.with_client_options(options).with_allow_http(allow_http);
    if let Some(io) = io {
        builder = builder.with_http_connector(SpawnedReqwestConnector::new(io.clone()));
    }
    let store = builder.build().map_err(|error| PlanError::Storage(format!("cannot open storage: {url}: {error}")))?;
    Ok(Arc::new(store))
}

/// Without keys the client library would ask the cloud's metadata address, which hangs outside of that cloud.
fn missing_credential(url: &Url, id_is_missing: bool) -> PlanError {
    let missing = if id_is_missing { "AWS_ACCESS_KEY_ID" } else { "AWS_SECRET_ACCESS_KEY" };
    PlanError::Invalid {
        message: format!("no credentials for storage: {url}: {missing} is not set"),
        help: Some(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket"
                .to_owned(),
        ),
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}
