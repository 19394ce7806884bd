//! The fine state of one worker: the tasks, actors and objects its processes own, and those it hosts for other workers.
//! Owned by the worker's runtime; pure: events in, actions out, no clock, no I/O, no randomness.
#![deny(unsafe_code)]

mod action;
mod event;

pub use action::{Action, ExecutorNeeds};
pub use event::{Event, ExitCause, LeaseGrant};
