//! Clients that stand for a process of a driver, over real connections, and what they may not do.

mod support;

use std::time::Duration;

use bytes::Bytes;
use support::{JOB, Stage};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{
    ExecutorId, ExtentId, Location, MESSAGE_KIND, ObjectId, PIECE_KIND, PROTOCOL, Piece, SpaceLease, SpaceLeaseId,
    decode, encode, link_limits,
};
use tandem_frames::{Decoded, Decoder, frame_header};
use tandem_node::{Action, DRIVER, Event, ExecutorNeeds, ExitCause};
use tandem_proto::transport::{ServerSecurity, Token, incoming, server};
use tandem_proto::v1::DriverBytes;
use tandem_proto::v1::driver_service_client::DriverServiceClient;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Code, Status, Streaming};

const GUEST: ExecutorId = ExecutorId(900);
const EXTENT: ExtentId = ExtentId(1);
const EXTENT_BYTES: u64 = 4 << 20;

/// A client by hand.
struct Client {
    sender: mpsc::Sender<DriverBytes>,
    stream: Streaming<DriverBytes>,
    decoder: Decoder,
}

impl Client {
    async fn attach(address: &str) -> Result<Self, Status> {
        let mut worker = DriverServiceClient::connect(format!("http://{address}")).await.expect("a connection");
        let (sender, messages) = mpsc::channel(4);
        sender.send(DriverBytes { job: JOB.0, data: Bytes::new() }).await.expect("room");
        let stream = worker.attach(ReceiverStream::new(messages)).await?.into_inner();
        Ok(Self { sender, stream, decoder: Decoder::new(link_limits()) })
    }

    async fn send(&self, kind: u16, payload: &[u8]) {
        let header = frame_header(kind, payload.len()).expect("a short payload");
        for data in [&header[..], payload].concat().chunks(1 << 20) {
            // A worker that has had enough does not read the rest.
            let _ = self.sender.send(DriverBytes { job: 0, data: Bytes::copy_from_slice(data) }).await;
        }
    }

    async fn say(&self, message: &ToNode) {
        self.send(MESSAGE_KIND, &encode(message)).await;
    }

    async fn hello(&self) {
        let hello = Hello { protocol: PROTOCOL, version: "test".to_owned(), pid: 1, functions: Vec::new() };
        self.say(&ToNode::Hello(hello)).await;
    }

    async fn next(&mut self) -> Result<Decoded, Status> {
        loop {
            if let Some(frame) = self.decoder.decode().expect("a sound stream") {
                return Ok(frame);
            }
            let mut rest = self.stream.message().await?.ok_or_else(|| Status::cancelled("it has ended"))?.data;
            while !rest.is_empty() {
                let space = self.decoder.space();
                let length = space.len().min(rest.len());
                space[..length].copy_from_slice(&rest.split_to(length));
                self.decoder.fill(length);
            }
        }
    }

    async fn heard(&mut self) -> ToExecutor {
        let frame = self.next().await.expect("a frame");
        assert_eq!(frame.kind, MESSAGE_KIND);
        decode(&frame.payload).expect("a message")
    }
}

/// A runtime that serves clients, and a driver that waits for one.
struct Scene {
    stage: Stage,
    address: String,
    driving: tokio::task::JoinHandle<Result<(), Failure>>,
    _serving: AbortOnDropHandle<()>,
}

impl Scene {
    async fn new() -> Self {
        let mut stage = Stage::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let security = ServerSecurity { token: Token::generate(), tls: None };
        let serving = server(&security).expect("no certificates").add_service(stage.runtime.driver_port().service());
        let serving = serving.serve_with_incoming(incoming(listener));
        let _serving = AbortOnDropHandle::new(tokio::spawn(async { serving.await.expect("a server") }));
        let runtime = stage.runtime.clone();
        let driving =
            tokio::spawn(async move { runtime.drive_at_client(JOB, 0, vec!["an argument".to_owned()]).await });
        stage.act(Action::MakeExtent { job: JOB, extent: EXTENT, bytes: EXTENT_BYTES }).await;
        Self { stage, address, driving, _serving }
    }

    /// A client that has attached, said hello, and may write the first MiB of an extent.
    async fn client(&mut self) -> Client {
        let mut client = self.attached().await;
        client.hello().await;
        self.stage.said(GUEST, |message| matches!(message, ToNode::Hello(_)).then_some(())).await;
        self.tell(ToExecutor::Extent { extent: EXTENT, bytes: EXTENT_BYTES, writable: true }).await;
        let lease = SpaceLease { id: SpaceLeaseId(1), extent: EXTENT, offset: 64, bytes: 1 << 20 };
        self.tell(ToExecutor::Space(Ok(lease))).await;
        assert_eq!(client.heard().await, ToExecutor::Space(Ok(lease)));
        client
    }

    async fn attached(&mut self) -> Client {
        let client = loop {
            match Client::attach(&self.address).await {
                Ok(client) => break client,
                Err(status) => assert_eq!(status.code(), Code::NotFound, "{status}"),
            }
        };
        self.stage.until(|event| matches!(event, Event::DriverLaunched { .. }).then_some(())).await;
        self.start().await;
        client
    }

    async fn start(&mut self) {
        let needs = ExecutorNeeds { purpose: DRIVER.to_owned(), ..ExecutorNeeds::default() };
        self.stage.act(Action::StartExecutor { executor: GUEST, job: JOB, needs }).await;
    }

    async fn tell(&mut self, message: ToExecutor) {
        self.stage.send(GUEST, message).await;
    }

    /// Whether the client is let go, with these words.
    async fn refuses(mut self, words: &str) {
        let cause = self.stage.gone(GUEST).await;
        assert!(matches!(&cause, ExitCause::Protocol(why) if why.contains(words)), "{cause:?}");
    }
}

fn put(location: Location) -> ToNode {
    let body = Body::Shared { format: Format::Bytes, object: ObjectId(5), location };
    ToNode::Put { object: ObjectId(5), value: Value { body, refs: Vec::new() } }
}

#[tokio::test]
async fn large_values_cross_in_pieces() {
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    let value: Vec<u8> = (0..700_000_u32).map(|i| i as u8).collect();
    let location = Location { extent: EXTENT, offset: 64, length: value.len() as u64 };
    for (offset, length) in Piece::ranges(location) {
        let from = (offset - 64) as usize;
        client.send(PIECE_KIND, &Piece::encode(EXTENT, offset, &value[from..from + length])).await;
    }
    client.say(&put(location)).await;
    scene.stage.said(GUEST, |message| (message == put(location)).then_some(())).await;
    scene
        .stage
        .said(GUEST, |message| matches!(&message, ToNode::SpaceUsed(leases) if leases.len() == 1).then_some(()))
        .await;

    let ToNode::Put { value: shared, .. } = put(location) else { unreachable!("it is one") };
    scene.tell(ToExecutor::Value { object: ObjectId(5), outcome: Ok(shared.clone()) }).await;
    let mut came = Vec::new();
    let message = loop {
        let frame = client.next().await.expect("a frame");
        if frame.kind != PIECE_KIND {
            break decode::<ToExecutor>(&frame.payload).expect("a message");
        }
        came.extend(Piece::decode(frame.payload).expect("a piece").bytes);
    };
    assert!(came == value, "{} bytes came", came.len());
    assert_eq!(message, ToExecutor::Value { object: ObjectId(5), outcome: Ok(shared.clone()) });
    scene.stage.said(GUEST, |message| (message == ToNode::Unpin(vec![ObjectId(5)])).then_some(())).await;
    scene.tell(ToExecutor::StopWriting(EXTENT)).await;
    scene.stage.said(GUEST, |message| (message == ToNode::GaveUp(EXTENT)).then_some(())).await;
    // Room that was granted before the node heard of that is asked for again, and the value is read as before.
    let lease = SpaceLease { id: SpaceLeaseId(2), extent: EXTENT, offset: 64, bytes: 1 << 20 };
    scene.tell(ToExecutor::Space(Ok(lease))).await;
    scene.stage.said(GUEST, |message| (message == ToNode::NeedSpace { bytes: 1 << 20 }).then_some(())).await;
    scene.tell(ToExecutor::Value { object: ObjectId(5), outcome: Ok(shared) }).await;
    while client.next().await.expect("a frame").kind == PIECE_KIND {}
    scene.tell(ToExecutor::GiveUp(EXTENT)).await;
    scene.stage.said(GUEST, |message| (message == ToNode::GaveUp(EXTENT)).then_some(())).await;
}

#[tokio::test]
async fn the_end_of_a_client_is_the_end_of_its_driver() {
    let mut scene = Scene::new().await;
    let client = scene.client().await;
    drop(client);
    assert!(matches!(scene.stage.gone(GUEST).await, ExitCause::ClientGone(_)));
    // There is no second client, and no process takes its place.
    scene.start().await;
    let outcome = scene.stage.until(|event| match event {
        Event::ExecutorStarted { executor: GUEST, outcome } => Some(outcome),
        _ => None,
    });
    assert_eq!(outcome.await, Err("its client is gone".to_owned()));
    let failure = Failure::new(FailureKind::ProcessLost, DRIVER, "it was lost");
    scene.stage.act(Action::DriverEnded { job: JOB, attempt: 0, outcome: Err(failure.clone()) }).await;
    assert_eq!(scene.driving.await.expect("no panic"), Err(failure));
}

#[tokio::test]
async fn a_client_that_is_asked_to_leave_has_a_grace() {
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    scene.stage.act(Action::StopExecutor { executor: GUEST, at_once: false }).await;
    assert_eq!(client.heard().await, ToExecutor::Shutdown);
    client.say(&ToNode::DriverDone(Ok(()))).await;
    scene.stage.said(GUEST, |message| (message == ToNode::DriverDone(Ok(()))).then_some(())).await;
    scene.stage.act(Action::StopExecutor { executor: GUEST, at_once: true }).await;
    assert_eq!(scene.stage.gone(GUEST).await, ExitCause::Asked);
}

#[tokio::test]
async fn a_client_writes_nothing_that_it_was_not_leased() {
    let mut scene = Scene::new().await;
    let client = scene.client().await;
    client.send(PIECE_KIND, &Piece::encode(EXTENT, (1 << 20) + 64, b"beyond")).await;
    scene.refuses("which was not leased to it").await;

    let mut scene = Scene::new().await;
    let client = scene.client().await;
    client.say(&put(Location { extent: EXTENT, offset: 128, length: 10 })).await;
    scene.refuses("where it was leased nothing").await;
}

#[tokio::test]
async fn bytes_that_are_no_messages_end_the_client_alone() {
    for (kind, payload, words) in [
        (MESSAGE_KIND, &[0xff; 9][..], "not a message of this protocol"),
        (PIECE_KIND, b"short", "no piece of a value"),
        (77, b"anything", "unknown kind 77"),
    ] {
        let mut scene = Scene::new().await;
        let client = scene.client().await;
        client.send(kind, payload).await;
        scene.refuses(words).await;
    }
    let mut scene = Scene::new().await;
    let mut client = scene.client().await;
    let header = frame_header(MESSAGE_KIND, 1 << 30).expect("a header");
    client.sender.send(DriverBytes { job: 0, data: Bytes::copy_from_slice(&header) }).await.expect("it listens");
    let told = tokio::time::timeout(Duration::from_secs(10), client.next()).await.expect("an answer");
    assert!(told.expect_err("it is let go").message().contains("1073741824"), "the length is named");
    scene.refuses("1073741824").await;
}

#[tokio::test]
async fn a_driver_whose_client_does_not_come_has_failed() {
    let stage = Stage::with(|config| config.attach_grace = Duration::from_millis(5));
    let failure = stage.runtime.drive_at_client(JOB, 0, Vec::new()).await.expect_err("nobody comes");
    assert_eq!(failure.message, "its client did not attach within 5ms");
}

#[tokio::test]
async fn nobody_attaches_to_a_driver_that_does_not_wait() {
    let mut scene = Scene::new().await;
    let _client = scene.client().await;
    let second = Client::attach(&scene.address).await.map(drop).expect_err("one client is enough");
    assert_eq!(second.code(), Code::NotFound);
}
