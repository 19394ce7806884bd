//! A scripted coordinator on a real socket, workers, and small stages for them to run.

pub(crate) mod coordinator;
pub(crate) mod data;
pub(crate) mod process;
pub(crate) mod stage;
