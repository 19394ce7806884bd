//! The coordinator: decides what runs where, and never touches data.
//!
//! `state` is the whole of the cluster as a pure state machine; `journal` is what survives a restart; `server` turns RPCs
//! and timers into events and performs the actions that come out.

#[allow(dead_code)] // Until the shell uses it.
mod journal;
pub mod state;

pub use journal::JournalError;
