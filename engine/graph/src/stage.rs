//! A planned query or job as a graph of stages: what the coordinator schedules and what a worker decodes.
//!
//! A stage is a physical plan without an exchange inside. Its partitions are run by tasks; what they put out is kept by
//! the workers that ran them until all stages that read it are done.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tandem_proto::StageId;

use crate::needs::StageNeeds;

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
    /// Running it again puts out the same rows, or no stage reads them. If not, whoever has read rows that are made
    /// again must start over.
    pub deterministic: bool,
    /// Output partitions that each plan partition writes: more than 1 only for a hash exchange.
    pub outputs: u32,
    /// How else than one task per partition the work may be divided.
    pub divisible: Divisible,
    /// What becomes of the output.
    pub role: StageRole,
    /// The encoded plan; opaque outside this crate.
    pub plan: Bytes,
    /// The plan as `EXPLAIN` shows it.
    pub display: String,
    /// How else it may get the same rows, if the smaller side of a join turns out small.
    pub fusion: Option<Fusion>,
    /// What each of its tasks needs besides a slot, if anything.
    pub needs: Option<StageNeeds>,
}

/// Other plans of a stage, for when the build side of its innermost join is small: then every task reads all of that, and
/// the probe side need not be exchanged. Its stage is not run; its plan is part of the fused one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fusion {
    /// The stage that makes the build side. Decides by its size.
    pub build: StageId,
    /// The stage that makes the probe side, which nothing else reads.
    pub probe: StageId,
    /// Rows of the probe side, estimated when the query was planned.
    pub probe_rows: Option<u64>,
    /// At place 0 the plan that is fused with that of the probe stage, at place `n` the one that is fused with the probe stage's
    /// own variant `n - 1`.
    pub variants: Vec<Variant>,
}

/// A fused plan of a stage. Replaces all that it has too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// See [`Stage::name`].
    pub name: String,
    /// See [`Stage::inputs`].
    pub inputs: Vec<StageId>,
    /// See [`Stage::partitions`].
    pub partitions: u32,
    /// See [`Stage::divisible`].
    pub divisible: Divisible,
    /// See [`Stage::plan`].
    pub plan: Bytes,
    /// See [`Stage::display`].
    pub display: String,
}

/// How the work of a stage may be divided once the sizes of its inputs are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Divisible {
    /// The inputs of which partition `p` reads column `p`, when nothing else decides how much a partition has to do:
    /// partitions that read little may share a task. Otherwise empty.
    pub sized_by: Vec<StageId>,
    /// The one of them of which several tasks may each read the column of some producers, when a partition of it is far
    /// larger than others: each of its rows goes through the stage on its own.
    pub split_over: Option<StageId>,
    /// The partitions of a task may be run as one, which puts out the rows of all.
    pub mergeable: bool,
    /// The inputs of which partition `p` reads all that partition `p` has put out: it is best run where that is.
    pub paired: Vec<StageId>,
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
    /// There is none. The stage has no plan: its one task is the job's main program, which takes no slot.
    Driver,
    /// As [`Self::Driver`], but the main program runs at the client.
    ClientDriver,
}

impl StageRole {
    /// Whether the stage is the main program of its job, wherever that runs.
    pub fn is_driver(&self) -> bool {
        match self {
            Self::Driver | Self::ClientDriver => true,
            Self::Exchange | Self::Result | Self::Sink(_) => false,
        }
    }
}

impl Stage {
    /// The only stage of a job that is a program whose main function runs at its client.
    pub fn client_driver() -> Self {
        Self { role: StageRole::ClientDriver, ..Self::driver() }
    }

    /// The only stage of a job that is a program.
    pub fn driver() -> Self {
        Self {
            id: StageId(1),
            name: "driver".to_owned(),
            inputs: Vec::new(),
            partitions: 1,
            share_plan: false,
            deterministic: true,
            outputs: 1,
            divisible: Divisible::default(),
            role: StageRole::Driver,
            plan: Bytes::new(),
            display: String::new(),
            fusion: None,
            needs: None,
        }
    }

    /// The encoded plan that is fused with `depth` stages below it; 0 is its own.
    pub fn plan_at(&self, depth: u32) -> &Bytes {
        self.variant(depth).map_or(&self.plan, |variant| &variant.plan)
    }

    /// The same plan as `EXPLAIN` shows it.
    pub fn display_at(&self, depth: u32) -> &str {
        self.variant(depth).map_or(&self.display, |variant| &variant.display)
    }

    fn variant(&self, depth: u32) -> Option<&Variant> {
        self.fusion.as_ref()?.variants.get((depth as usize).checked_sub(1)?)
    }
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
