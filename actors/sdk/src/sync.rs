//! What the threads of a process meet at, in those files that `tests/interleavings` has too, with that of a model checker.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
pub(crate) use std::sync::mpsc::{Receiver, Sender, channel};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use std::thread;

pub(crate) use futures::task::AtomicWaker;
