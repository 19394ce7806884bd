//! Links between two ends in one process, and between a process and its child.

use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::task::{Context, Poll, Waker};

use tandem_frames::{Frame, FrameReceiver, Limits, Link, SendError, inherited, pair};

fn links(limits: Limits) -> (Link, Link) {
    let (a, b) = UnixStream::pair().expect("a pair of sockets");
    (Link::start(a, limits).expect("a link"), Link::start(b, limits).expect("a link"))
}

async fn received(receiver: &mut FrameReceiver) -> Option<(u16, Vec<u8>)> {
    let frame = receiver.recv().await.expect("a frame or the end")?;
    Some((frame.kind, frame.payload.to_vec()))
}

fn payload(i: usize) -> Vec<u8> {
    let len = [0, 1, 64, 4_096, 20_000, 70_000, 1 << 20][i % 7];
    vec![i as u8; len]
}

#[tokio::test]
async fn frames_of_all_sizes_arrive_in_order_before_the_end() {
    let (mut a, mut b) = links(Limits::default());
    let sender = a.sender.clone();
    let sending = async move {
        for i in 0..500 {
            sender.send(Frame::new(i as u16, payload(i))).await.expect("an open link");
        }
        a.writer.close().await.expect("all is written");
    };
    let receiving = async {
        for i in 0..500 {
            assert_eq!(received(&mut b.receiver).await, Some((i as u16, payload(i))));
        }
        assert_eq!(received(&mut b.receiver).await, None);
        b.sender.send(Frame::new(1, "the other way is open")).await.expect("an open link");
    };
    tokio::join!(sending, receiving);
    assert_eq!(received(&mut a.receiver).await, Some((1, b"the other way is open".to_vec())));
    assert_eq!(a.sender.try_send(Frame::default()).map_err(|(_, error)| error), Err(SendError::Closed));
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_sender_back() {
    let limits = Limits { payload_bytes: 1_000, queue_bytes: 10_000, ..Limits::default() };
    let (a, mut b) = links(limits);
    let frame = |i: usize| Frame::new(i as u16, vec![0; 1_000]);
    let mut sent = 0;
    // Until the socket is full, room comes back; then the queue is all there is.
    let refused = loop {
        match a.sender.try_send(frame(sent)) {
            Ok(()) => sent += 1,
            Err((back, SendError::Full)) => {
                if pin!(a.sender.send(frame(sent))).poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    // Long enough for a writer that could write.
                    for _ in 0..1_000 {
                        tokio::task::yield_now().await;
                    }
                    match a.sender.try_send(back) {
                        Ok(()) => sent += 1,
                        Err((back, error)) => break (back, error),
                    }
                } else {
                    sent += 1;
                }
            }
            Err((_, error)) => panic!("{error}"),
        }
        assert!(sent < 10_000, "nothing holds the sender back");
    };
    assert_eq!((refused.0.payload.len(), refused.1), (1_000, SendError::Full));
    let waiting = a.sender.send(refused.0);
    let reading = async {
        for i in 0..=sent {
            assert_eq!(received(&mut b.receiver).await.map(|(kind, _)| kind), Some(i as u16));
        }
    };
    let (last, ()) = tokio::join!(waiting, reading);
    assert_eq!(last, Ok(()));
}

#[tokio::test]
async fn many_senders_keep_their_own_order() {
    let (a, mut b) = links(Limits { queue_bytes: 0, payload_bytes: 100, ..Limits::default() });
    let senders: Vec<_> = (0..8_u16)
        .map(|kind| {
            let sender = a.sender.clone();
            tokio::spawn(async move {
                for i in 0..1_000_u32 {
                    sender.send(Frame::new(kind, i.to_le_bytes().to_vec())).await.expect("an open link");
                }
            })
        })
        .collect();
    let Link { sender, writer, .. } = a;
    drop(sender);
    let mut next = [0_u32; 8];
    while let Some((kind, payload)) = received(&mut b.receiver).await {
        let next = &mut next[usize::from(kind)];
        assert_eq!(payload, next.to_le_bytes());
        *next += 1;
    }
    assert_eq!(next, [1_000; 8], "the stream ends when the last sender is gone");
    for sender in senders {
        sender.await.expect("a sender that did not fail");
    }
    writer.close().await.expect("all was written");
}

#[tokio::test]
async fn a_frame_beyond_the_limits_is_refused_here() {
    let (a, _b) = links(Limits { payload_bytes: 10, ..Limits::default() });
    let error = a.sender.send(Frame::new(0, vec![0; 11])).await;
    assert_eq!(error, Err(SendError::TooLong { bytes: 11, limit: 10 }));
    assert_eq!(a.sender.send(Frame::new(0, vec![0; 10])).await, Ok(()));
}

#[tokio::test]
async fn senders_learn_that_nobody_reads_or_writes_any_more() {
    let limits = Limits { payload_bytes: 100_000, queue_bytes: 0, ..Limits::default() };
    let (a, b) = links(limits);
    drop(b);
    while a.sender.send(Frame::new(0, vec![0; 100_000])).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let failed = a.writer.close().await.expect_err("the socket is closed");
    assert_eq!(failed.kind(), std::io::ErrorKind::BrokenPipe);

    let (a, _b) = links(limits);
    let filling = async { while a.sender.send(Frame::new(0, vec![0; 100_000])).await.is_ok() {} };
    let stopping = async {
        tokio::task::yield_now().await;
        drop(a.writer);
    };
    tokio::join!(filling, stopping);
}

/// Runs itself as the child.
#[tokio::test]
async fn a_child_answers_over_its_standard_input() {
    if std::env::var_os("TANDEM_FRAMES_TEST_CHILD").is_some() {
        return echo().await;
    }
    let (own, child_end) = pair().expect("a pair");
    let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
    command.args(["--exact", "a_child_answers_over_its_standard_input"]).env("TANDEM_FRAMES_TEST_CHILD", "1");
    let mut child = command.stdin(child_end).stdout(Stdio::null()).spawn().expect("a child");
    drop(command);
    let mut link = Link::start(own, Limits::default()).expect("a link");
    for i in 0..100 {
        link.sender.send(Frame::new(i, payload(usize::from(i)))).await.expect("an open link");
        assert_eq!(received(&mut link.receiver).await, Some((i, payload(usize::from(i)))));
    }
    link.sender.close();
    assert_eq!(received(&mut link.receiver).await, None, "the child has ended the stream");
    assert!(child.wait().expect("an end").success());
}

async fn echo() {
    let mut link = Link::start(inherited().expect("the end for the child"), Limits::default()).expect("a link");
    assert_eq!(std::io::read_to_string(std::io::stdin()).expect("an empty file"), "");
    assert!(inherited().is_err(), "there is but one end");
    while let Some(frame) = link.receiver.recv().await.expect("a sound stream") {
        link.sender.send(frame).await.expect("an open link");
    }
    link.writer.close().await.expect("all is written");
}

#[test]
fn the_receiver_gives_back_nothing_when_it_is_dropped_early() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (a, mut b) = links(Limits::default());
        for i in 0..100_u16 {
            // Polled once and dropped: either it has the frame or it has taken nothing.
            let early = pin!(b.receiver.recv()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(early, Poll::Pending), "nothing was sent");
            a.sender.send(Frame::new(i, "x")).await.expect("an open link");
            assert_eq!(received(&mut b.receiver).await, Some((i, b"x".to_vec())));
        }
    });
}
