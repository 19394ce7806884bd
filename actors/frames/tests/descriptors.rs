//! Descriptors arrive with their frame, and none is left open however a link ends. One test, since it counts the open
//! files of the process.

use std::fs::File;
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tandem_frames::{DecodeError, Frame, Limits, Link, RecvError, SendError};

const LIMITS: Limits = Limits { payload_bytes: 50_000, descriptors: 3, queue_bytes: 100_000 };

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("a list of open files").count()
}

fn file(content: u32) -> OwnedFd {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&content.to_le_bytes()).expect("room for four bytes");
    file.into()
}

fn content(file: OwnedFd) -> u32 {
    let (mut file, mut bytes) = (File::from(file), [0; 4]);
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut bytes)).expect("four bytes");
    u32::from_le_bytes(bytes)
}

#[tokio::test]
async fn descriptors_come_with_their_frame_and_none_is_left_open() {
    // The runtime opens files of its own.
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    drop((Link::start(a, LIMITS).expect("a link"), b));
    tokio::task::yield_now().await;
    let before = open_files();
    arrive_with_their_frame().await;
    settle(before).await;
    are_closed_unsent().await;
    settle(before).await;
    for hostile in hostile() {
        refused(hostile).await;
        settle(before).await;
    }
}

/// Aborted tasks drop what they hold when they are next scheduled.
async fn settle(expected: usize) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(open_files(), expected, "open files");
}

async fn arrive_with_their_frame() {
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    let (a, mut b) = (Link::start(a, LIMITS).expect("a link"), Link::start(b, LIMITS).expect("a link"));
    let count = |i: u32| [0, 0, 1, 0, 3, 2][i as usize % 6];
    let len = |i: u32| [10, 0, 40_000, 3_000, 5, 17_000][i as usize % 6];
    let sending = async {
        for i in 0..600 {
            let descriptors = (0..count(i)).map(|j| file(10 * i + j)).collect();
            let frame = Frame { kind: i as u16, payload: vec![0; len(i)].into(), descriptors };
            a.sender.send(frame).await.expect("an open link");
        }
        a.sender.close();
    };
    let receiving = async {
        for i in 0..600 {
            let frame = b.receiver.recv().await.expect("a sound stream").expect("a frame");
            assert_eq!((u32::from(frame.kind), frame.payload.len()), (i, len(i)));
            for descriptor in &frame.descriptors {
                assert!(fcntl_getfd(descriptor).expect("its flags").contains(FdFlags::CLOEXEC));
            }
            let contents: Vec<u32> = frame.descriptors.into_iter().map(content).collect();
            assert_eq!(contents, (0..count(i)).map(|j| 10 * i + j).collect::<Vec<_>>());
        }
        assert!(b.receiver.recv().await.expect("a sound stream").is_none());
    };
    tokio::join!(sending, receiving);
}

async fn are_closed_unsent() {
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    let a = Link::start(a, LIMITS).expect("a link");
    let frame = |count| Frame { descriptors: (0..count).map(file).collect(), ..Frame::default() };
    let too_many = a.sender.send(frame(4)).await;
    assert_eq!(too_many, Err(SendError::TooManyDescriptors { count: 4, limit: 3 }));
    while a.sender.try_send(frame(3)).is_ok() {}
    drop(b);
}

/// What a hostile peer sends in one write, and how the link ends.
struct Hostile {
    bytes: Vec<u8>,
    descriptors: usize,
    error: DecodeError,
}

fn hostile() -> Vec<Hostile> {
    let frame = |count: u8, len: u32| {
        let mut bytes = [len.to_le_bytes().as_slice(), &[0, 0, count, 0]].concat();
        bytes.resize(8 + len as usize, 0);
        bytes
    };
    let wrong = |came, named| DecodeError::Descriptors { came, named };
    vec![
        Hostile { bytes: frame(0, 5), descriptors: 2, error: wrong(2, 0) },
        Hostile { bytes: frame(2, 5), descriptors: 1, error: wrong(1, 2) },
        Hostile { bytes: frame(2, 5), descriptors: 3, error: wrong(1, 0) },
        Hostile { bytes: frame(1, 100)[..50].to_vec(), descriptors: 3, error: wrong(3, 1) },
        Hostile { bytes: frame(2, 100)[..50].to_vec(), descriptors: 2, error: DecodeError::Truncated },
        Hostile { bytes: frame(2, 0)[..3].to_vec(), descriptors: 2, error: DecodeError::Truncated },
        Hostile { bytes: frame(3, 5), descriptors: 4, error: DecodeError::DescriptorsLost },
        Hostile { bytes: frame(3, 5), descriptors: 200, error: DecodeError::DescriptorsLost },
        Hostile {
            bytes: frame(4, 5),
            descriptors: 3,
            error: DecodeError::TooManyDescriptors { kind: 0, count: 4, limit: 3 },
        },
        Hostile {
            bytes: u32::MAX.to_le_bytes().into_iter().chain([0; 4]).collect(),
            descriptors: 1,
            error: DecodeError::TooLong { kind: 0, bytes: u32::MAX, limit: 50_000 },
        },
    ]
}

async fn refused(hostile: Hostile) {
    let (peer, own) = UnixStream::pair().expect("a pair of sockets");
    let mut link = Link::start(own, LIMITS).expect("a link");
    let files: Vec<OwnedFd> = (0..hostile.descriptors).map(|_| file(0)).collect();
    let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    let sent = sendmsg(&peer, &[IoSlice::new(&hostile.bytes)], &mut control, SendFlags::empty());
    assert_eq!(sent, Ok(hostile.bytes.len()));
    drop(peer);
    let error = loop {
        match link.receiver.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("no {}", hostile.error),
            Err(RecvError::Decode(error)) => break error,
            Err(RecvError::Io(error)) => panic!("{error}"),
        }
    };
    assert_eq!(error, hostile.error);
}
