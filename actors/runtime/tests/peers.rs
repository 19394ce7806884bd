//! Two runtimes that talk over real connections.

mod support;

use std::net::SocketAddr;

use support::{JOB, Stage};
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::value::Format;
use tandem_actor_protocol::{ExtentId, Location, ObjectId, SpaceLease, SpaceLeaseId, WorkerId};
use tandem_node::{Action, Event};
use tandem_proto::transport::{
    ClientSecurity, RequireToken, ServerSecurity, TlsIdentity, Token, incoming_with_streams, plain_server,
};
use tandem_runtime::PeerPort;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// A worker that is not there any more.
const GONE: WorkerId = WorkerId(6);

/// What the workers of one cluster ask for and show.
#[derive(Clone)]
struct Security {
    server: ServerSecurity,
    client: ClientSecurity,
}

impl Security {
    fn clear() -> Self {
        let token = Token::generate();
        let client = ClientSecurity { token: Some(token.clone()), ca_pem: None };
        Self { server: ServerSecurity { token, tls: None }, client }
    }

    fn tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let mut security = Self::clear();
        let cert_pem = made.cert.pem().into_bytes();
        security.client.ca_pem = Some(cert_pem.clone());
        security.server.tls = Some(TlsIdentity { cert_pem, key_pem: made.signing_key.serialize_pem().into_bytes() });
        security
    }

    /// A runtime, with what it shows to others.
    fn stage(&self) -> Stage {
        Stage::with(|config| config.security = self.client.clone())
    }

    /// Serves a runtime to others until dropped.
    async fn serve(&self, port: PeerPort, address: SocketAddr) -> (AbortOnDropHandle<()>, SocketAddr) {
        // What served there before may not be gone yet.
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => tokio::task::yield_now().await,
                Err(error) => panic!("no port: {error}"),
            }
        };
        let address = listener.local_addr().expect("an address");
        let (lender, mut lending) = (port.clone(), JoinSet::new());
        let take = move |stream| drop(lending.spawn(lender.clone().lend(stream)));
        let incoming = incoming_with_streams(listener, &self.server, take).expect("certificates that can be used");
        let serving = plain_server()
            .layer(tonic::service::InterceptorLayer::new(RequireToken::new(self.server.token.clone())))
            .add_service(port.service())
            .serve_with_incoming(incoming);
        (AbortOnDropHandle::new(tokio::spawn(async { serving.await.expect("a server") })), address)
    }
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn recall(count: u32) -> PeerMessage {
    PeerMessage { job: JOB, body: PeerBody::Recall { count } }
}

async fn heard(stage: &mut Stage, from: WorkerId) -> u32 {
    stage
        .until(|event| match event {
            Event::FromPeer { worker, message: PeerMessage { job: JOB, body: PeerBody::Recall { count } } }
                if worker == from =>
            {
                Some(count)
            }
            _ => None,
        })
        .await
}

#[tokio::test]
async fn messages_arrive_once_and_in_order_over_connections_that_break() {
    let security = Security::clear();
    let (mut here, mut there) = (security.stage(), security.stage());
    let (serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let mut serving = Some(serving);
    for round in 0..5 {
        for i in 0..100 {
            here.act(Action::SendPeer { worker: there.worker, message: recall(round * 100 + i) }).await;
            if i == 50 {
                // Connections that are open go on for as long as their streams do: it takes both.
                drop(serving.take());
                serving = Some(security.serve(there.runtime.peer_port(), address).await.0);
            }
        }
        for i in 0..100 {
            assert_eq!(heard(&mut there, here.worker).await, round * 100 + i);
        }
    }
}

#[tokio::test]
async fn messages_wait_for_a_peer_that_is_not_there_yet() {
    let security = Security::clear();
    let (mut here, mut there) = (security.stage(), security.stage());
    let (serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    drop(serving);
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    here.act(Action::SendPeer { worker: there.worker, message: recall(1) }).await;
    let _serving = security.serve(there.runtime.peer_port(), address).await;
    assert_eq!(heard(&mut there, here.worker).await, 1);
}

#[tokio::test]
async fn another_worker_in_place_of_a_peer_means_that_the_peer_is_lost() {
    let security = Security::clear();
    let (mut here, there) = (security.stage(), security.stage());
    let (_serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    here.act(Action::KnowPeer { worker: GONE, address: address.to_string() }).await;
    here.act(Action::SendPeer { worker: GONE, message: recall(1) }).await;
    let lost = |event| if let Event::PeerLost { worker } = event { Some(worker) } else { None };
    assert_eq!(here.until(lost).await, GONE);
}

/// Builds an object of the shell in the one extent of a runtime, and returns where.
async fn build(stage: &mut Stage, extent: ExtentId, bytes: Vec<u8>) -> Location {
    let length = bytes.len() as u64;
    stage.act(Action::MakeExtent { job: JOB, extent, bytes: 64 << 20 }).await;
    let runtime = stage.runtime.clone();
    let building = tokio::spawn(async move {
        let room = runtime.space(JOB, length).await.expect("room");
        room.write(Format::Bytes, vec![bytes.into()]).await.expect("room");
    });
    let wanted = |event| if let Event::SpaceWanted { ticket, .. } = event { Some(ticket) } else { None };
    let ticket = stage.until(wanted).await;
    let lease = SpaceLease { id: SpaceLeaseId(0), extent, offset: 4096, bytes: length };
    stage.act(Action::SpaceGiven { ticket, outcome: Ok(lease) }).await;
    building.await.expect("no panic");
    Location { extent, offset: 4096, length }
}

#[tokio::test]
async fn objects_of_all_sizes_are_read_from_peers() {
    for security in [Security::clear(), Security::tls()] {
        objects_are_read(&security).await;
    }
}

async fn objects_are_read(security: &Security) {
    let (mut here, mut there) = (security.stage(), security.stage());
    let (_serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    for (i, length) in [0, 1, 100_000, (1 << 20) + 1, 20 << 20].into_iter().enumerate() {
        let extent = ExtentId(i as u32);
        let content: Vec<u8> = (0..length).map(|at: u32| (at % 251) as u8).collect();
        let location = build(&mut there, extent, content.clone()).await;
        here.act(Action::MakeExtent { job: JOB, extent, bytes: 64 << 20 }).await;
        let object = ObjectId(i as u128);
        let into = Location { offset: 64, ..location };
        here.act(Action::Fetch { job: JOB, object, theirs: None, from: there.worker, into }).await;
        let outcome = fetched(&mut here, &mut there, location).await;
        assert_eq!(outcome, Ok(()), "{length} bytes");
        // Read back through a process that has it mapped for reading.
        let executor = here.executor().await;
        let shown = tandem_actor_protocol::executor::ToExecutor::Extent { extent, bytes: 64 << 20, writable: false };
        here.send(executor, shown).await;
        let value = tandem_actor_protocol::value::Value {
            body: tandem_actor_protocol::value::Body::Shared { format: Format::Bytes, object, location: into },
            refs: Vec::new(),
        };
        let expected = format!("{}", content.iter().map(|byte| u64::from(*byte)).sum::<u64>());
        assert_eq!(here.call(executor, "sum", vec![value]).await, expected);
    }
}

/// Lets the peer answer until the object is here.
async fn fetched(here: &mut Stage, there: &mut Stage, location: Location) -> Result<(), String> {
    let ended = here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None });
    tokio::pin!(ended);
    loop {
        let wanted = |event| if let Event::ReadWanted { ticket, .. } = event { Some(ticket) } else { None };
        tokio::select! {
            outcome = &mut ended => return outcome,
            ticket = there.until(wanted) => {
                there.act(Action::ReadGiven { ticket, location: Some(location) }).await;
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_is_gone_is_told() {
    let security = Security::clear();
    let (mut here, mut there) = (security.stage(), security.stage());
    let (_serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let into = Location { extent: ExtentId(0), offset: 0, length: 10 };
    here.act(Action::MakeExtent { job: JOB, extent: ExtentId(0), bytes: 2 << 20 }).await;
    here.act(Action::Fetch { job: JOB, object: ObjectId(9), theirs: None, from: there.worker, into }).await;
    let wanted = |event| if let Event::ReadWanted { ticket, .. } = event { Some(ticket) } else { None };
    let ticket = there.until(wanted).await;
    there.act(Action::ReadGiven { ticket, location: None }).await;
    let outcome =
        here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None }).await;
    assert!(outcome.as_ref().is_err_and(|reason| reason.contains("is not here")), "{outcome:?}");
}

#[tokio::test]
async fn who_does_not_show_the_token_is_not_heard() {
    let security = Security::clear();
    let (mut here, there) = (Security::clear().stage(), security.stage());
    let (_serving, address) = security.serve(there.runtime.peer_port(), any_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    here.act(Action::MakeExtent { job: JOB, extent: ExtentId(0), bytes: 2 << 20 }).await;
    let into = Location { extent: ExtentId(0), offset: 0, length: 10 };
    here.act(Action::Fetch { job: JOB, object: ObjectId(9), theirs: None, from: there.worker, into }).await;
    let outcome =
        here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None }).await;
    assert!(outcome.is_err_and(|reason| reason.contains("token")));
}
