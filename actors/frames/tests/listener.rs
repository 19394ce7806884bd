//! Who may connect, and where.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tandem_frames::{BindError, Frame, Limits, Link, Listener, Peer};

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[tokio::test]
async fn a_connection_says_who_it_is_and_carries_frames() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = Listener::bind(&folder.path().join("links"), "worker", own_uid()).expect("a listener");
    let mode = |path| fs::metadata(path).expect("it exists").mode() & 0o777;
    assert_eq!((mode(folder.path().join("links")), mode(listener.path().to_owned())), (0o700, 0o600));
    let path = listener.path().to_owned();
    let client = tokio::task::spawn_blocking(move || UnixStream::connect(path).expect("a connection"));
    let (stream, peer) = listener.accept().await.expect("a connection");
    assert_eq!(peer, Peer { pid: Some(std::process::id()), uid: own_uid() });
    let mut server = Link::start(stream, Limits::default()).expect("a link");
    let client = Link::start(client.await.expect("a connection"), Limits::default()).expect("a link");
    client.sender.send(Frame::new(7, "hello")).await.expect("an open link");
    let frame = server.receiver.recv().await.expect("a sound stream").expect("a frame");
    assert_eq!((frame.kind, frame.payload.as_ref()), (7, b"hello".as_slice()));
}

#[tokio::test]
async fn another_user_is_turned_away() {
    if own_uid() != 0 {
        return println!("skipped: only root may listen for another user");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let links = folder.path().join("links");
    let listener = Listener::bind(&links, "worker", 12_345).expect("a listener");
    let found = fs::metadata(listener.path()).expect("it exists");
    assert_eq!((found.uid(), found.mode() & 0o777), (12_345, 0o600));
    assert_eq!(fs::metadata(&links).expect("it exists").mode() & 0o777, 0o711);
    // Root passes every file permission, so here it is the listener that refuses.
    let stranger = UnixStream::connect(listener.path()).expect("a connection");
    let accepted = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(accepted.is_err(), "a stranger was accepted");
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut &stranger, &mut byte).expect("an end"), 0);
}

#[tokio::test]
async fn a_folder_open_to_others_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o750)).expect("our folder");
    let refused = Listener::bind(folder.path(), "worker", own_uid());
    assert!(matches!(refused, Err(BindError::NotPrivate { mode: 0o750, .. })), "{refused:?}");
}

#[tokio::test]
async fn the_path_of_the_living_is_kept_and_that_of_the_dead_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let links = folder.path().join("links");
    let first = Listener::bind(&links, "worker", own_uid()).expect("a listener");
    assert!(matches!(Listener::bind(&links, "worker", own_uid()), Err(BindError::InUse { .. })));
    let path = first.path().to_owned();
    drop(first);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a listener"));
    assert!(path.exists(), "closed without being removed");
    Listener::bind(&links, "worker", own_uid()).expect("a listener");
}
