//! What a planner makes, a scheduler decides by and a worker runs: a job as a graph of stages, and the part of a stage that
//! one attempt runs. Plain data; plans in it are opaque bytes.

mod needs;
mod stage;
mod work;

pub use needs::StageNeeds;
pub use stage::{Divisible, Fusion, Stage, StageGraph, StageRole, Variant};
pub use work::{InputSlice, TaskWork};
