//! What is said to the node is written, by whoever is first.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use loom::thread;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{CallId, decode, link_limits};
use tandem_frames::Decoder;

use crate::orders;
use crate::outbox::Outbox;
use crate::sync::Mutex;
use crate::transport::Transport;

/// The node's end of the link.
struct Node {
    stream: UnixStream,
    decoder: Decoder,
    began: Vec<CallId>,
}

impl Node {
    /// Whether it was told that a call has begun.
    fn knows(&mut self, call: CallId) -> bool {
        while let Ok(bytes @ 1..) = self.stream.read(self.decoder.space()) {
            self.decoder.fill(bytes);
        }
        while let Some(frame) = self.decoder.decode().expect("whole frames") {
            let ToNode::Began(call) = decode(&frame.payload).expect("a message") else { panic!("not a beginning") };
            self.began.push(call);
        }
        self.began.contains(&call)
    }
}

fn outbox() -> (Arc<Outbox>, Node) {
    let (own, stream) = UnixStream::pair().expect("a pair");
    stream.set_nonblocking(true).expect("a socket");
    let node = Node { stream, decoder: Decoder::new(link_limits()), began: Vec::new() };
    (Outbox::start(own).expect("a thread"), node)
}

#[test]
fn what_was_said_before_a_flush_is_written_when_that_ends_whoever_writes_it() {
    orders(2, || {
        let (outbox, node) = outbox();
        let node = Arc::new(Mutex::new(node));
        let say = |call: CallId| {
            let (outbox, node) = (Arc::clone(&outbox), Arc::clone(&node));
            move || {
                outbox.post(ToNode::Began(call));
                outbox.flush();
                assert!(node.lock().expect("no panic").knows(call), "{call} is still queued");
            }
        };
        let other = thread::spawn(say(CallId(1)));
        say(CallId(2))();
        other.join().expect("no panic");
        end(&outbox, node);
    });
}

#[test]
fn what_nobody_flushes_is_written_by_the_thread_for_that() {
    orders(3, || {
        let (outbox, node) = outbox();
        // The thread ends when it has found that nobody reads what it writes.
        drop(node);
        let other = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || outbox.post(ToNode::Began(CallId(1))))
        };
        outbox.post(ToNode::Began(CallId(2)));
        other.join().expect("no panic");
    });
}

/// Lets the writer's thread find that the node is gone.
fn end(outbox: &Outbox, node: Arc<Mutex<Node>>) {
    drop(node);
    outbox.post(ToNode::Began(CallId(0)));
}
