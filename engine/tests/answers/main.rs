//! The same answer, whatever the partitions, the workers and the faults: real processes of the built binary beside
//! single-process DataFusion, and beside themselves undisturbed.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod faults;
mod kills;
mod resume;
mod sales;
mod scale;
mod tpch;
