//! What the threads of a link meet at, chosen in one place: `tests/interleavings` has the queue with that of a model checker.

pub(crate) use std::sync::{Mutex, MutexGuard};
pub(crate) use tokio::sync::{Notify, Semaphore};
