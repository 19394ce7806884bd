//! Room for values: who asks gets some, and what the node wants back it gets when nothing is built there any more. The arena is
//! the real one, whose own orders are those of its crate's tests: here each call of it is a step.

use std::sync::Arc;

use loom::thread;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{CallId, ExtentId, Location, ObjectId, SpaceLease};
use tandem_arena::{Access, ExtentFile, LeaseId, MappedArena};

use crate::orders;
use crate::space::Space;
use crate::sync::{Mutex, Receiver, Sender, channel};
use crate::transport::Transport;

const EXTENT: ExtentId = ExtentId(1);
const EXTENT_BYTES: u64 = 4 << 10;
const VALUE_BYTES: u64 = 64;

/// What the node is told.
struct Node(Mutex<Told>);

struct Told {
    messages: Vec<ToNode>,
    /// Whether room is wanted; if not, none ever will be.
    asks: Sender<bool>,
}

impl Node {
    /// Nobody asks for room any more.
    fn end(&self) {
        self.0.lock().expect("no panic").asks.send(false).expect("the node hears it");
    }
}

impl Transport for Node {
    fn send(&self, message: ToNode) {
        self.post(message);
    }

    fn post(&self, message: ToNode) {
        let mut told = self.0.lock().expect("no panic");
        if let ToNode::NeedSpace { .. } = message {
            told.asks.send(true).expect("the node hears it");
        }
        told.messages.push(message);
    }

    fn flush(&self) {}

    fn retain(&self, _: ObjectId) {}

    fn release(&self, _: ObjectId) {}

    fn unpin(&self, _: ObjectId) {}

    fn watch(&self, _: ObjectId, _: bool) {}

    fn piece(&self, _: ExtentId, _: u64, _: &[u8]) {}
}

/// Room for the `number`th value.
fn lease(number: u64) -> SpaceLease {
    SpaceLease { id: LeaseId(number), extent: EXTENT, offset: number * VALUE_BYTES, bytes: VALUE_BYTES }
}

/// A process that may write an extent and has no room there yet, and what it asks for.
fn space() -> (Arc<Space>, Arc<Node>, Receiver<bool>) {
    let (asks, asked) = channel();
    let node = Arc::new(Node(Mutex::new(Told { messages: Vec::new(), asks })));
    // SAFETY: nothing is read, and each part of the extent is leased once.
    let arena = unsafe { MappedArena::new(|_| {}) };
    let file = ExtentFile::create(EXTENT_BYTES).expect("memory");
    arena.map(EXTENT, file.for_writer().expect("a file"), EXTENT_BYTES, Access::Write).expect("an extent");
    (Space::new(arena, Arc::clone(&node) as _), node, asked)
}

#[test]
fn an_extent_that_is_wanted_back_is_given_up_once_and_behind_what_was_built_there() {
    orders(3, || {
        let (space, node, _asked) = space();
        space.answer(Ok(lease(0))).expect("an extent that may be written");
        let room = space.create(VALUE_BYTES).expect("room");
        let builder = {
            let node = Arc::clone(&node);
            thread::spawn(move || {
                let unsent = room.finish();
                node.send(ToNode::Began(CallId(1)));
                drop(unsent);
            })
        };
        space.give_up(EXTENT);
        builder.join().expect("no panic");
        let told = &node.0.lock().expect("no panic").messages;
        assert!(matches!(told[..], [ToNode::Began(_), ToNode::GaveUp(EXTENT)]), "{told:?}");
    });
}

#[test]
fn all_that_ask_for_room_get_some_though_others_take_what_was_meant_for_them() {
    orders(2, || {
        let (space, node, asked) = space();
        let answering = {
            let space = Arc::clone(&space);
            thread::spawn(move || {
                let asks = std::iter::from_fn(|| asked.recv().ok()).take_while(|wanted| *wanted);
                asks.zip(0..).for_each(|(_, number)| space.answer(Ok(lease(number))).expect("an extent to write"));
            })
        };
        let other = {
            let space = Arc::clone(&space);
            thread::spawn(move || put(&space))
        };
        let own = put(&space);
        assert_ne!(own, other.join().expect("no panic"));
        node.end();
        answering.join().expect("no panic");
    });
}

/// Builds a value, and says where it is.
fn put(space: &Arc<Space>) -> Location {
    space.create(VALUE_BYTES).expect("room").finish().location()
}
