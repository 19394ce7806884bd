//! The fine state of one worker: the tasks, actors and objects its processes own, and those it hosts for other workers.
//! Owned by the worker's runtime; pure: events in, actions out, no clock, no I/O, no randomness.
#![deny(unsafe_code)]

mod action;
mod actors;
mod config;
mod context;
mod event;
mod executors;
mod history;
mod host;
mod job;
mod node;
mod objects;
mod outside;
mod peers;
mod placement;
mod tasks;
#[cfg(test)]
mod tests;
mod timers;
pub mod views;

pub use action::{Action, DRIVER, ExecutorNeeds, Lent, LentAt, SpillFile};
pub use config::NodeConfig;
pub use event::{DriverWork, Event, ExitCause, Found, GroupNews, LeaseGrant, NameRefusal, RestoreError};
pub use history::{Ended, Tally};
pub use node::Node;
pub use timers::Timestamp;
