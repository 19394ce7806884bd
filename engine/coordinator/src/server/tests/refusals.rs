//! Who is not let in, and what is not started.

use tandem_proto::transport::{ClientSecurity, Token, connect};
use tandem_proto::v1;
use tandem_proto::v1::cluster_service_client::ClusterServiceClient;
use tandem_proto::v1::coordinator_message::Message as Told;
use tandem_proto::v1::job_service_client::JobServiceClient;
use tandem_proto::v1::state_service_client::StateServiceClient;
use tandem_proto::v1::worker_message::Message as Said;
use tandem_proto::{VERSION, WorkerId};
use tempfile::TempDir;
use tonic::Code;

use super::{Running, attach, prepare, register, start, start_with};
use crate::{Coordinator, CoordinatorConfig, CoordinatorError, JournalError, TlsFiles};

#[tokio::test]
async fn a_worker_of_another_version_is_rejected_with_the_reason() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    let old = v1::Register { version: "0.0.1".to_owned(), ..register(WorkerId(1)) };
    let (_said, mut told) = attach(&running, old).await.unwrap();
    let Some(Told::Rejected(rejected)) = told.message().await.unwrap().unwrap().message else { panic!("let in") };
    assert!(rejected.reason.contains("0.0.1") && rejected.reason.contains(VERSION), "{}", rejected.reason);
    assert!(told.message().await.unwrap().is_none());

    let newer = v1::Register { term: 9, ..register(WorkerId(1)) };
    assert_eq!(attach(&running, newer).await.unwrap_err().code(), Code::FailedPrecondition);
    running.stop().await;
}

/// The refusals of every RPC there is.
async fn refusals(running: &Running, token: Option<Token>) -> Vec<Code> {
    let channel = running.channel(token).await;
    let mut jobs = JobServiceClient::new(channel.clone());
    let mut cluster = ClusterServiceClient::new(channel.clone());
    let mut state = StateServiceClient::new(channel);
    let register = v1::WorkerMessage { epoch: 0, message: Some(Said::Register(register(WorkerId(1)))) };
    macro_rules! code {
        ($call:expr) => {
            $call.await.map(|_| ()).map_or_else(|status| status.code(), |()| Code::Ok)
        };
    }
    vec![
        code!(cluster.attach(tokio_stream::once(register))),
        code!(cluster.get_stage(v1::GetStageRequest::default())),
        code!(cluster.get_program(v1::GetProgramRequest::default())),
        code!(cluster.ship_logs(tokio_stream::empty::<v1::LogBatch>())),
        code!(cluster.claim_name(v1::ClaimNameRequest::default())),
        code!(cluster.find_name(v1::FindNameRequest::default())),
        code!(cluster.drop_name(v1::DropNameRequest::default())),
        code!(jobs.submit(v1::SubmitRequest::default())),
        code!(jobs.follow(v1::FollowRequest::default())),
        code!(jobs.stop(v1::StopRequest::default())),
        code!(jobs.get(v1::GetRequest::default())),
        code!(jobs.list(v1::ListRequest::default())),
        code!(jobs.list_tasks(v1::GetRequest::default())),
        code!(jobs.get_report(v1::GetRequest::default())),
        code!(jobs.explain(v1::ExplainRequest::default())),
        code!(jobs.relay_fetch(v1::RelayFetchRequest::default())),
        code!(jobs.list_nodes(v1::ListNodesRequest::default())),
        code!(jobs.list_groups(v1::ListGroupsRequest::default())),
        code!(jobs.drain_node(v1::DrainNodeRequest::default())),
        code!(jobs.get_cluster(v1::GetClusterRequest::default())),
        code!(jobs.read_logs(v1::ReadLogsRequest::default())),
        code!(state.list(v1::ListStateRequest::default())),
    ]
}

#[tokio::test]
async fn nothing_is_answered_without_the_token() {
    let folder = TempDir::new().unwrap();
    let running = start(folder.path()).await;
    for token in [None, Some(Token::generate())] {
        let codes = refusals(&running, token).await;
        assert!(codes.iter().all(|code| *code == Code::Unauthenticated), "{codes:?}");
    }
    assert!(refusals(&running, Some(running.token.clone())).await.iter().all(|code| *code != Code::Unauthenticated));
    let wrong = format!("authorization: {}\r\n", Token::generate().authorization());
    for authorization in ["", wrong.as_str()] {
        assert!(running.http("/metrics", authorization).await.starts_with("HTTP/1.1 401"));
    }
    for path in ["/healthz", "/readyz"] {
        assert!(running.http(path, "").await.starts_with("HTTP/1.1 200"), "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let open = "0.0.0.0:0".parse().unwrap();
    let refused = |config| async move { Coordinator::bind(config).await.map(|_| ()).unwrap_err() };
    for config in
        [CoordinatorConfig { listen: open, ..config.clone() }, CoordinatorConfig { http: open, ..config.clone() }]
    {
        let exposed = refused(config).await;
        assert!(matches!(exposed, CoordinatorError::Exposed(_)), "{exposed}");
        assert!(exposed.to_string().contains("--tls-cert") && exposed.help().is_some(), "{exposed}");
    }
    let no_token = refused(CoordinatorConfig { token_file: None, ..config.clone() }).await;
    assert!(matches!(no_token, CoordinatorError::Token(_)) && no_token.help().is_some(), "{no_token}");

    let running = start_with(config.clone(), token, None).await;
    let taken = refused(CoordinatorConfig { listen: running.addresses.grpc, ..config.clone() }).await;
    assert!(matches!(taken, CoordinatorError::Listen { .. }) && taken.help().is_some(), "{taken}");
    let locked = refused(config).await;
    assert!(matches!(locked, CoordinatorError::Journal(JournalError::Locked { .. })), "{locked}");
    running.stop().await;
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_only() {
    let folder = TempDir::new().unwrap();
    let (config, token) = prepare(folder.path());
    let identity = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, identity.cert.pem()).unwrap();
    std::fs::write(&key, identity.signing_key.serialize_pem()).unwrap();
    let tls = Some(TlsFiles { cert, key, ca: None });
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let config = CoordinatorConfig { tls, http: everywhere, ..config };
    let running = start_with(config, token.clone(), Some(identity.cert.pem().into_bytes())).await;
    running.client().await.get_cluster(v1::GetClusterRequest {}).await.unwrap();
    let plain = ClientSecurity { token: Some(token), ca_pem: None };
    let refused = match connect(&running.addresses.grpc.to_string(), &plain).await {
        Ok(channel) => JobServiceClient::new(channel).get_cluster(v1::GetClusterRequest {}).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    let certificate = identity.cert.der();
    assert!(running.https("/readyz", "", certificate).await.starts_with("HTTP/1.1 200"));
    assert!(running.https("/metrics", "", certificate).await.starts_with("HTTP/1.1 401"));
    let authorization = format!("authorization: {}\r\n", running.token.authorization());
    assert!(running.https("/metrics", &authorization, certificate).await.starts_with("HTTP/1.1 200"));
    running.stop().await;
}
