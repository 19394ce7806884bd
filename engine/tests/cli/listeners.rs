//! Whatever listens refuses who shows no token or a wrong one. The listeners are those the kernel knows of, the calls
//! those of the protocol files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use crate::support::{Sandbox, http};

const WRONG: &str = "Bearer 0123456789abcdef0123456789abcdef";

/// Inodes of the sockets that the processes of a sandbox have open.
fn sockets(sandbox: &Sandbox) -> BTreeSet<String> {
    let descriptors = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let inode = |link: PathBuf| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    let links = sandbox.processes().into_iter().flat_map(descriptors).filter_map(|entry| entry.path().read_link().ok());
    links.filter_map(inode).collect()
}

/// Addresses where these sockets listen.
fn tcp_listeners(sockets: &BTreeSet<String>) -> Vec<String> {
    const LISTEN: &str = "0A";
    let v6 = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    assert!(
        v6.lines().all(|line| !line.split_whitespace().nth(9).is_some_and(|inode| sockets.contains(inode))),
        "addresses of version 6 are not understood here"
    );
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let listener = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = fields.get(3) == Some(&LISTEN) && fields.get(9).is_some_and(|inode| sockets.contains(*inode));
        let (host, port) = fields.get(1).filter(|_| is_ours)?.split_once(':')?;
        let host = u32::from_str_radix(host, 16).ok()?.to_le_bytes();
        Some(format!("{}:{}", std::net::Ipv4Addr::from(host), u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().filter_map(listener).collect()
}

/// Every call of every service, as a path.
fn calls() -> Vec<PathAndQuery> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/tandem/v1");
    let mut calls = Vec::new();
    for file in std::fs::read_dir(folder).expect("protocols").flatten() {
        let text = std::fs::read_to_string(file.path()).expect("a protocol");
        let mut service = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("service ") {
                service = name.split(' ').next().expect("a name");
            } else if let Some(call) = line.strip_prefix("rpc ") {
                let call = call.split('(').next().expect("a name");
                calls.push(format!("/tandem.v1.{service}/{call}").parse().expect("a path"));
            }
        }
    }
    assert!(calls.len() > 10, "{calls:?}");
    calls
}

/// How a gRPC call ends that shows `authorization`.
async fn outcome(address: &str, call: PathAndQuery, authorization: Option<&'static str>) -> Code {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let mut client = tonic::client::Grpc::new(endpoint.connect().await.expect("a connection"));
    client.ready().await.expect("a connection");
    let mut request = Request::new(());
    if let Some(value) = authorization {
        request.metadata_mut().insert("authorization", MetadataValue::from_static(value));
    }
    let answer: Result<tonic::Response<()>, _> = client.unary(request, call, ProstCodec::default()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[test]
fn nobody_without_the_token_gets_past_any_listener() {
    let sandbox = Sandbox::with_cluster(2);
    let sockets = sockets(&sandbox);
    let listeners = tcp_listeners(&sockets);
    assert!(listeners.len() >= 6, "each of three processes has one for gRPC and one for HTTP: {listeners:?}");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let mut over_http = 0;
    for address in &listeners {
        for authorization in [None, Some(WRONG)] {
            let open = ["/healthz", "/readyz"].map(|path| http::get(address, path, authorization).map(|it| it.status));
            if open[0].is_some() {
                over_http += 1;
                assert_eq!(open, [Some(200), Some(200)], "{address}");
                let refused = http::get(address, "/metrics", authorization).expect("an answer");
                assert_eq!(refused.status, 401, "{address}: {refused:?}");
                let unknown = http::get(address, "/", authorization).expect("an answer");
                assert_eq!(unknown.status, 404, "{address}: {unknown:?}");
                continue;
            }
            for call in calls() {
                let code = runtime.block_on(outcome(address, call.clone(), authorization));
                // A process refuses before it says which services it has.
                assert_eq!(code, Code::Unauthenticated, "{address}{call} with {authorization:?}");
            }
        }
    }
    assert_eq!(over_http, listeners.len(), "half of the listeners, twice each");
}
