//! What this process says to its node, in order. Whoever has something to say queues it; who waits for an answer writes what
//! is queued by itself, so that no other thread must wake up first, and a thread of its own writes the rest a moment later.
//! Invariants: what names an object is written before what lets go of it; the queue's lock is held for no system call.
//!
//!   send, retain, watch, unpin, release ─► queue ─flush, or the writer's thread─► socket

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ExtentId, MESSAGE_KIND, ObjectId, PIECE_KIND, Piece, encode_onto};
use tandem_frames::{HEADER_BYTES, frame_header};

use crate::sync::{Condvar, Mutex, thread};
use crate::transport::Transport;

/// With so much queued, who adds to it writes.
const WRITE_BYTES: usize = 64 << 10;
/// A larger buffer is given back when it was written.
const KEPT_BYTES: usize = 1 << 20;
/// How long the writer's thread lets messages gather: less than anyone notices, and hundreds of them.
const GATHER: Duration = Duration::from_micros(50);
/// The same while those that queue messages write them too: then it is there only for what one of them leaves, and to wake it up for each
/// message would take longer than to write that.
const LOOK_AGAIN: Duration = Duration::from_micros(500);

/// So many objects are named in one message; they take 19 bytes each at most, which no link refuses.
const MESSAGE_OBJECTS: usize = 100_000;

/// The way to the node over a socket.
pub(crate) struct Outbox {
    stream: UnixStream,
    queue: Mutex<Queue>,
    /// Told when something comes into a queue that the writer's thread does not watch.
    filled: Condvar,
    /// Held by who writes: an empty buffer to swap with the queue's.
    writing: Mutex<Vec<u8>>,
}

/// Messages, and those that gather into one.
#[derive(Default)]
struct Queue {
    /// Whole frames.
    bytes: Vec<u8>,
    /// Goes before the next message: a value that is sent on may name them.
    retain: Vec<ObjectId>,
    /// These go behind all messages.
    fetch: Vec<ObjectId>,
    watch: Vec<ObjectId>,
    unpin: Vec<ObjectId>,
    release: Vec<ObjectId>,
    writer: Writer,
    closed: bool,
}

/// Whether the thread that writes will look at the queue by itself.
///
///   Asleep ─something comes─► Told ─it looks─► Quiet ─something comes─► Told …    Quiet ─it looks─► Asleep
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// It must be told.
    #[default]
    Asleep,
    /// It will look, and nothing has come since it last did.
    Quiet,
    /// It will look, and something has come.
    Told,
}

impl Outbox {
    /// Starts the thread that writes what nobody else does.
    pub(crate) fn start(stream: UnixStream) -> io::Result<Arc<Self>> {
        let outbox =
            Arc::new(Self { stream, queue: Mutex::default(), filled: Condvar::new(), writing: Mutex::default() });
        let writer = Arc::clone(&outbox);
        thread::Builder::new().name("tandem-writer".to_owned()).spawn(move || writer.write_what_is_left())?;
        Ok(outbox)
    }

    fn write_what_is_left(&self) {
        let mut pause = GATHER;
        loop {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            while queue.writer == Writer::Asleep && !queue.closed {
                pause = GATHER;
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.closed {
                return;
            }
            drop(queue);
            thread::sleep(pause);
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let left = !queue.is_empty();
            queue.writer = if queue.writer == Writer::Told { Writer::Quiet } else { Writer::Asleep };
            drop(queue);
            pause = if left { GATHER } else { LOOK_AGAIN };
            if left {
                self.flush();
            }
        }
    }

    /// Changes the queue, and wakes the writer if it would not look. Says how many bytes are in it.
    fn change(&self, change: impl FnOnce(&mut Queue)) -> usize {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return 0;
        }
        change(&mut queue);
        let bytes = queue.bytes.len();
        let before = std::mem::replace(&mut queue.writer, Writer::Told);
        drop(queue);
        if before == Writer::Asleep {
            self.filled.notify_one();
        }
        bytes
    }

    fn take(&self, into: &mut Vec<u8>) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.settle();
        std::mem::swap(&mut queue.bytes, into);
    }

    fn close(&self) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = Queue { closed: true, ..Queue::default() };
        self.filled.notify_one();
    }
}

impl Transport for Outbox {
    fn send(&self, message: ToNode) {
        if self.change(|queue| queue.push(&message)) >= WRITE_BYTES {
            self.flush();
        }
    }

    fn post(&self, message: ToNode) {
        self.change(|queue| queue.push(&message));
    }

    fn retain(&self, object: ObjectId) {
        self.change(|queue| queue.retain(object));
    }

    fn release(&self, object: ObjectId) {
        self.change(|queue| queue.release.push(object));
    }

    fn unpin(&self, object: ObjectId) {
        self.change(|queue| queue.unpin.push(object));
    }

    fn watch(&self, object: ObjectId, fetch: bool) {
        self.change(|queue| if fetch { queue.fetch.push(object) } else { queue.watch.push(object) });
    }

    fn piece(&self, extent: ExtentId, offset: u64, bytes: &[u8]) {
        self.change(|queue| queue.frame(PIECE_KIND, |buffer| buffer.extend(Piece::encode(extent, offset, bytes))));
        self.flush();
    }

    fn flush(&self) {
        let mut buffer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.take(&mut buffer);
        if buffer.is_empty() {
            return;
        }
        // A node that is gone takes nothing more; the thread that reads ends this process.
        if (&self.stream).write_all(&buffer).is_err() {
            self.close();
        }
        buffer.clear();
        buffer.shrink_to(KEPT_BYTES);
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        let lists = [&self.retain, &self.fetch, &self.watch, &self.unpin, &self.release];
        self.bytes.is_empty() && lists.iter().all(|list| list.is_empty())
    }

    fn push(&mut self, message: &ToNode) {
        self.say_retained();
        self.encode(message);
    }

    fn retain(&mut self, object: ObjectId) {
        if !self.release.is_empty() {
            // It may be among those that were let go of a moment ago.
            self.settle();
        }
        self.retain.push(object);
    }

    fn say_retained(&mut self) {
        if !self.retain.is_empty() {
            let objects = std::mem::take(&mut self.retain);
            self.encode_all(&objects, ToNode::Retain);
        }
    }

    /// Turns the lists into messages.
    fn settle(&mut self) {
        self.say_retained();
        let Self { fetch, watch, unpin, release, .. } = self;
        let [fetch, watch, unpin, release] = [fetch, watch, unpin, release].map(std::mem::take);
        self.encode_all(&fetch, |objects| ToNode::Watch { objects, fetch: true });
        self.encode_all(&watch, |objects| ToNode::Watch { objects, fetch: false });
        self.encode_all(&unpin, ToNode::Unpin);
        self.encode_all(&release, ToNode::Release);
    }

    /// As few messages as they fit in.
    fn encode_all(&mut self, objects: &[ObjectId], message: impl Fn(Vec<ObjectId>) -> ToNode) {
        objects.chunks(MESSAGE_OBJECTS).for_each(|objects| self.encode(&message(objects.to_vec())));
    }

    fn encode(&mut self, message: &ToNode) {
        self.frame(MESSAGE_KIND, |buffer| *buffer = encode_onto(message, std::mem::take(buffer)));
    }

    fn frame(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        write(&mut self.bytes);
        let payload_bytes = self.bytes.len() - start - HEADER_BYTES;
        let header = frame_header(kind, payload_bytes).expect("no message has 4 GiB");
        self.bytes[start..start + HEADER_BYTES].copy_from_slice(&header);
    }
}
