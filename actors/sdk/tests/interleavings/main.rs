//! Threads of one process that meet at its objects, its work and its way to the node, in each order in which they may go. The
//! files are those of the crate, over the locks and atomics of a model checker. That all threads end in every order is a part of
//! each test: one that is not woken up ends the model.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the files are a crate's, of which these tests use a part"
)]

#[path = "../../src/calls.rs"]
mod calls;
mod messages;
#[path = "../../src/objects/mod.rs"]
mod objects;
#[path = "../../src/outbox.rs"]
mod outbox;
mod process;
mod room;
#[path = "../../src/space.rs"]
mod space;
mod sync;
#[path = "../../src/transport.rs"]
mod transport;
mod waiting;
#[path = "../../src/executor/work.rs"]
mod work;

use loom::model::Builder;

/// What else the files name.
mod task {
    #[derive(Debug)]
    pub(crate) struct Yields;
}

mod value {
    /// So many bytes of a value.
    #[derive(Debug, Clone, PartialEq)]
    pub(crate) struct Fetched(pub(crate) usize);

    impl Fetched {
        pub(crate) fn len(&self) -> usize {
            self.0
        }
    }
}

/// Tries all orders in which a thread is held up in the middle of something at most so often.
fn orders(interruptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}
