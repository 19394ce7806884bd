//! A planned query or job as a graph of stages: what the coordinator schedules and what a worker decodes.
//!
//! A stage is a physical plan without an exchange inside. Its partitions are run by tasks; what they put out is kept by
//! the workers that ran them until all stages that read it are done.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::StageId;

/// Stages in an order in which inputs come before their readers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct StageGraph {
    /// The stages; the one with id `n` is at place `n - 1`.
    pub stages: Vec<Stage>,
}

/// One stage of a [`StageGraph`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stage {
    /// Its id, counted from 1.
    pub id: StageId,
    /// A short name for people, such as `scan lineitem, aggregate`.
    pub name: String,
    /// The stages whose output it reads, each once.
    pub inputs: Vec<StageId>,
    /// Partitions of its plan, at least 1.
    pub partitions: u32,
    /// All partitions must run in one task, on one instance of the plan, at once: an operator shares state between
    /// them (a join that emits unmatched build rows, a recursive query).
    pub share_plan: bool,
    /// Running it again puts out the same rows. If not, whoever has read rows that are made again must start over.
    pub deterministic: bool,
    /// Output partitions that each plan partition writes: more than 1 only for a hash exchange.
    pub outputs: u32,
    /// What becomes of the output.
    pub role: StageRole,
    /// The encoded plan; opaque outside this crate.
    pub plan: Bytes,
    /// The plan as `EXPLAIN` shows it.
    pub display: String,
}

/// What becomes of a stage's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageRole {
    /// Other stages read it.
    Exchange,
    /// The client reads it, partition after partition.
    Result,
    /// Its tasks wrote staged files of the sink with this name.
    Sink(String),
}

impl StageGraph {
    /// The stage with this id.
    ///
    /// # Panics
    /// When the graph has no such stage.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0 as usize - 1]
    }
}
