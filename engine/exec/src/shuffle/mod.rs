//! Reading stage output: the leaf of every stage plan that has inputs.
//!
//! A stage's output is written by the task runner ([`crate::task`]); [`ShuffleReadExec`] is the other end.

mod inputs;
mod read;

pub use inputs::{FetchError, FetchRemote, InputLocations, Producer, TaskInputs};
pub use read::{ReadMode, ShuffleReadExec};
