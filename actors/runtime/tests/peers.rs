//! Two runtimes that talk over real connections.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use support::security::{Security, listen};
use support::{JOB, Stage};
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::peer::{PeerBody, PeerMessage};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ExtentId, Location, ObjectId, SpaceLease, SpaceLeaseId, WorkerId};
use tandem_node::{Action, Event, Lent, LentAt, SpillFile};
use tandem_runtime::{LentStats, PeerPort};
use tokio_util::task::AbortOnDropHandle;

const EXTENT_BYTES: u64 = 64 << 20;
/// A worker that is not there any more.
const GONE: WorkerId = WorkerId(6);

impl Security {
    /// A runtime, with what it shows to others.
    fn stage(&self) -> Stage {
        Stage::with(|config| config.security = self.client.clone())
    }

    /// Serves a runtime to others until dropped, at any port.
    async fn serve_anywhere(&self, port: PeerPort) -> (AbortOnDropHandle<()>, SocketAddr) {
        let (listener, address) = listen(None).await;
        (self.serve(port, listener), address)
    }
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
    let (serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let mut serving = Some(serving);
    for round in 0..5 {
        for i in 0..100 {
            here.act(Action::SendPeer { worker: there.worker, message: recall(round * 100 + i) }).await;
            if i == 50 {
                // Connections that are open go on for as long as their streams do: it takes both.
                drop(serving.take());
                let (listener, _) = listen(Some(address)).await;
                serving = Some(security.serve(there.runtime.peer_port(), listener));
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
    let (serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    drop(serving);
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    here.act(Action::SendPeer { worker: there.worker, message: recall(1) }).await;
    let (listener, _) = listen(Some(address)).await;
    let _serving = security.serve(there.runtime.peer_port(), listener);
    assert_eq!(heard(&mut there, here.worker).await, 1);
}

#[tokio::test]
async fn another_worker_in_place_of_a_peer_means_that_the_peer_is_lost() {
    let security = Security::clear();
    let (mut here, there) = (security.stage(), security.stage());
    let (_serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: GONE, address: address.to_string() }).await;
    here.act(Action::SendPeer { worker: GONE, message: recall(1) }).await;
    let lost = |event| if let Event::PeerLost { worker } = event { Some(worker) } else { None };
    assert_eq!(here.until(lost).await, GONE);
}

/// Builds an object of the shell in the one extent of a runtime, and returns where.
async fn build(stage: &mut Stage, extent: ExtentId, bytes: Vec<u8>) -> Location {
    let length = bytes.len() as u64;
    stage.act(Action::MakeExtent { job: JOB, extent, bytes: EXTENT_BYTES }).await;
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
    let (_serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let mut sent = LentStats::default();
    for (i, length) in [0, 1, 100_000, (1 << 20) + 1, 20 << 20].into_iter().enumerate() {
        let extent = ExtentId(i as u32);
        let location = build(&mut there, extent, content(length, 251)).await;
        let (object, into) = (ObjectId(i as u128), Location { offset: 64, ..location });
        ask(&mut here, &there, object, into).await;
        let lent = Lent { copy: object, at: LentAt::Arena(location) };
        let outcome = fetched(&mut here, &mut there, |_| Some(lent)).await;
        assert_eq!(outcome, Ok(()), "{length} bytes");
        assert_eq!(sum_of(&mut here, into).await, sum(&content(length, 251)));
        sent.arena_bytes += length;
    }
    assert_eq!(there.runtime.lent_stats(), sent);
}

/// Bytes that follow from their number and `of`.
fn content(length: u64, of: u64) -> Vec<u8> {
    (0..length).map(|at| (at % of) as u8).collect()
}

fn sum(content: &[u8]) -> String {
    content.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string()
}

/// What a process finds that has an extent mapped for reading.
async fn sum_of(stage: &mut Stage, at: Location) -> String {
    let executor = stage.executor().await;
    let shown = ToExecutor::Extent { extent: at.extent, bytes: EXTENT_BYTES, writable: false };
    stage.send(executor, shown).await;
    let body = Body::Shared { format: Format::Bytes, object: ObjectId(0), location: at };
    stage.call(executor, "sum", vec![Value { body, refs: Vec::new() }]).await
}

/// Begins to read an object of a peer into a new extent.
async fn ask(here: &mut Stage, there: &Stage, object: ObjectId, into: Location) {
    here.act(Action::MakeExtent { job: JOB, extent: into.extent, bytes: EXTENT_BYTES }).await;
    here.act(Action::Fetch { job: JOB, object, theirs: None, from: there.worker, into }).await;
}

/// Lets the peer answer until the object is here. What it lends may change with the reads that have failed there.
async fn fetched(here: &mut Stage, there: &mut Stage, lend: impl Fn(&[String]) -> Option<Lent>) -> Result<(), String> {
    let ended = here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None });
    tokio::pin!(ended);
    let mut failed = Vec::new();
    loop {
        let of_read = |event| matches!(event, Event::ReadWanted { .. } | Event::ReadFailed { .. }).then_some(event);
        tokio::select! {
            outcome = &mut ended => return outcome,
            event = there.until(of_read) => match event {
                Event::ReadFailed { reason, .. } => failed.push(reason),
                Event::ReadWanted { ticket, .. } => {
                    let lent = lend(&failed);
                    there.act(Action::ReadGiven { ticket, lent }).await;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

const FILE: SpillFile = SpillFile(3);
const ON_DISK_BYTES: u64 = (20 << 20) + 5;
const ON_DISK: Lent = Lent { copy: ObjectId(1), at: LentAt::Disk { file: FILE, length: ON_DISK_BYTES } };

/// Two runtimes, of which the other one has an object on disk, and its file.
async fn with_one_on_disk(security: &Security) -> (Stage, Stage, AbortOnDropHandle<()>, tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut here = security.stage();
    let mut there = Stage::with(|config| {
        config.security = security.client.clone();
        config.spill_dir = Some(folder.path().to_owned());
    });
    let (serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let from = build(&mut there, ExtentId(0), content(ON_DISK_BYTES, 251)).await;
    there.act(Action::Spill { job: JOB, file: FILE, from }).await;
    let spilled = |event| if let Event::Spilled { outcome, .. } = event { Some(outcome) } else { None };
    assert_eq!(there.until(spilled).await, Ok(()));
    let file = folder.path().join("3.object");
    assert!(file.exists());
    (here, there, serving, folder, file)
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("our file");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("our file");
}

const INTO: Location = Location { extent: ExtentId(1), offset: 64, length: ON_DISK_BYTES };

#[tokio::test]
async fn an_object_on_disk_is_read_from_there() {
    for security in [Security::clear(), Security::tls()] {
        let (mut here, mut there, _serving, _folder, _) = with_one_on_disk(&security).await;
        ask(&mut here, &there, ObjectId(1), INTO).await;
        assert_eq!(fetched(&mut here, &mut there, |_| Some(ON_DISK)).await, Ok(()));
        assert_eq!(sum_of(&mut here, INTO).await, sum(&content(ON_DISK_BYTES, 251)));
        let sent = LentStats { arena_bytes: 0, disk_bytes: ON_DISK_BYTES };
        assert_eq!(there.runtime.lent_stats(), sent);
        assert_eq!(there.runtime.spill_stats().restored_bytes, 0);
    }
}

#[tokio::test]
async fn what_is_damaged_on_disk_is_not_passed_on() {
    // At its begin, in the middle of a part, in a checksum.
    for at in [0, 7 << 20, ON_DISK_BYTES + 4] {
        let (mut here, mut there, _serving, _folder, file) = with_one_on_disk(&Security::clear()).await;
        flip(&file, at as usize);
        ask(&mut here, &there, ObjectId(1), INTO).await;
        let lend = |failed: &[String]| {
            let names_it = |why: &String| why.contains(&file.display().to_string()) && why.contains("not those");
            assert!(failed.iter().all(names_it), "{failed:?}");
            failed.is_empty().then_some(ON_DISK)
        };
        let why = fetched(&mut here, &mut there, lend).await.expect_err("it is damaged");
        assert!(why.contains("is not here") || why.contains("not those that were written"), "{why}");
    }
}

#[tokio::test]
async fn what_is_made_again_while_it_is_read_is_read_as_a_whole() {
    let (mut here, mut there, _serving, _folder, file) = with_one_on_disk(&Security::clear()).await;
    flip(&file, 7 << 20);
    let again = build(&mut there, ExtentId(2), content(ON_DISK_BYTES, 17)).await;
    let again = Lent { copy: ObjectId(2), at: LentAt::Arena(again) };
    ask(&mut here, &there, ObjectId(1), INTO).await;
    let lend = |failed: &[String]| Some(if failed.is_empty() { ON_DISK } else { again });
    assert_eq!(fetched(&mut here, &mut there, lend).await, Ok(()));
    assert_eq!(sum_of(&mut here, INTO).await, sum(&content(ON_DISK_BYTES, 17)));
}

#[tokio::test]
async fn a_file_that_is_gone_is_told() {
    let (mut here, mut there, _serving, _folder, file) = with_one_on_disk(&Security::clear()).await;
    std::fs::remove_file(&file).expect("our file");
    ask(&mut here, &there, ObjectId(1), INTO).await;
    let why = fetched(&mut here, &mut there, |_| Some(ON_DISK)).await.expect_err("it is gone");
    assert!(why.contains(&file.display().to_string()) && why.contains("No such file"), "{why}");
}

#[tokio::test]
async fn an_object_that_is_gone_is_told() {
    let security = Security::clear();
    let (mut here, mut there) = (security.stage(), security.stage());
    let (_serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    let into = Location { extent: ExtentId(0), offset: 0, length: 10 };
    here.act(Action::MakeExtent { job: JOB, extent: ExtentId(0), bytes: 2 << 20 }).await;
    here.act(Action::Fetch { job: JOB, object: ObjectId(9), theirs: None, from: there.worker, into }).await;
    let wanted = |event| if let Event::ReadWanted { ticket, .. } = event { Some(ticket) } else { None };
    let ticket = there.until(wanted).await;
    there.act(Action::ReadGiven { ticket, lent: None }).await;
    let outcome =
        here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None }).await;
    assert!(outcome.as_ref().is_err_and(|reason| reason.contains("is not here")), "{outcome:?}");
}

#[tokio::test]
async fn who_does_not_show_the_token_is_not_heard() {
    let security = Security::clear();
    let (mut here, there) = (Security::clear().stage(), security.stage());
    let (_serving, address) = security.serve_anywhere(there.runtime.peer_port()).await;
    here.act(Action::KnowPeer { worker: there.worker, address: address.to_string() }).await;
    here.act(Action::MakeExtent { job: JOB, extent: ExtentId(0), bytes: 2 << 20 }).await;
    let into = Location { extent: ExtentId(0), offset: 0, length: 10 };
    here.act(Action::Fetch { job: JOB, object: ObjectId(9), theirs: None, from: there.worker, into }).await;
    let outcome =
        here.until(|event| if let Event::Fetched { outcome, .. } = event { Some(outcome) } else { None }).await;
    assert!(outcome.is_err_and(|reason| reason.contains("token")));
}
