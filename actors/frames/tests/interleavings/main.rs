//! Threads that send while the queue is written out and closed, in each order in which they may go. The files are those of the
//! crate, over the locks of a model checker. That all threads end in every order is a part of each test: one that is not
//! woken up ends the model.
#![allow(dead_code, unreachable_pub, reason = "the files are a crate's, of which these tests use a part")]

#[path = "../../src/batch.rs"]
mod batch;
#[path = "../../src/error.rs"]
mod error;
#[path = "../../src/frame.rs"]
mod frame;
#[path = "../../src/limits.rs"]
mod limits;
#[path = "../../src/queue.rs"]
mod queue;
mod sync;

use std::sync::Arc;

use batch::Batch;
use error::SendError;
use frame::Frame;
use limits::Limits;
use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use queue::Queue;

/// Room for one frame at a time.
const LIMITS: Limits = Limits { payload_bytes: 8, descriptors: 0, queue_bytes: 16 };

/// Tries all orders in which a thread is held up in the middle of something at most so often.
fn orders(interruptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

fn frame(kind: u16) -> Frame {
    Frame::new(kind, vec![0_u8; 8])
}

/// Takes and writes until the end, as the writer of a link does. The kinds of frames, in the order in which they were written.
fn write_out(queue: &Queue) -> Vec<u16> {
    let mut batch = Batch::default();
    let mut kinds = Vec::new();
    while block_on(queue.take(&mut batch)) {
        while !batch.is_empty() {
            let bytes: Vec<u8> = batch.next_write().slices().iter().flat_map(|slice| slice.to_vec()).collect();
            kinds.extend(bytes.chunks_exact(16).map(|frame| u16::from_le_bytes([frame[4], frame[5]])));
            queue.free(batch.advance(bytes.len()));
        }
    }
    queue.abandon();
    kinds
}

#[test]
fn each_frame_is_written_once_however_little_room_there_is() {
    orders(2, || {
        let queue = Arc::new(Queue::new(LIMITS));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || block_on(queue.send(frame(1))))
        };
        let sender = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let sent = block_on(queue.send(frame(2)));
                let sent = [other.join().expect("no panic"), sent];
                queue.close();
                sent
            })
        };
        let mut written = write_out(&queue);
        written.sort_unstable();
        assert_eq!((written, sender.join().expect("no panic")), (vec![1, 2], [Ok(()), Ok(())]));
    });
}

#[test]
fn a_frame_that_was_taken_before_the_end_is_written_and_none_is_taken_behind_it() {
    orders(3, || {
        let queue = Arc::new(Queue::new(LIMITS));
        let sender = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || [1, 2].map(|kind| block_on(queue.send(frame(kind)))))
        };
        let writer = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || write_out(&queue))
        };
        queue.close();
        let sent = sender.join().expect("no panic");
        let taken = sent.iter().filter(|sent| sent.is_ok()).count();
        let expected = [[Ok(()), Ok(())], [Ok(()), Err(SendError::Closed)], [const { Err(SendError::Closed) }; 2]];
        assert!(expected.contains(&sent), "{sent:?}");
        assert_eq!(writer.join().expect("no panic"), [1, 2][..taken], "in the order in which they were sent");
    });
}

#[test]
fn senders_that_wait_for_room_hear_that_the_writer_is_gone() {
    orders(4, || {
        let queue = Arc::new(Queue::new(LIMITS));
        let sender = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || [1, 2].map(|kind| block_on(queue.send(frame(kind)))))
        };
        let tried = queue.try_send(frame(3)).map_err(|(_, error)| error);
        queue.abandon();
        let sent = sender.join().expect("no panic");
        assert_eq!(sent[1], Err(SendError::Closed), "nobody makes room");
        assert!(tried.is_ok() || tried == Err(SendError::Full), "{tried:?}");
        assert_eq!(queue.try_send(frame(4)).map_err(|(_, error)| error), Err(SendError::Closed));
    });
}
