//! A scripted coordinator on a real socket, workers, and small stages for them to run.

pub mod coordinator;
pub mod data;
pub mod process;
pub mod stage;
