//! What the state machine knows of a job's work: the shape of its stage graph, without the plans.
//! Never changes once a job is accepted.

use serde::{Deserialize, Serialize};
use tandem_graph::{Divisible, Fusion, Stage, StageGraph, StageNeeds, StageRole};
use tandem_proto::StageId;

/// The shape of one accepted job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobPlan {
    /// Its name, for people.
    pub name: String,
    /// The stages, inputs before readers; the one with id `n` is at place `n - 1`.
    pub stages: Vec<StagePlan>,
    /// Followers hold the job: it is stopped when the last one is gone for longer than the lease.
    pub attached: bool,
    /// It was written to the journal, so its facts are too.
    pub journaled: bool,
    /// How long it may take from acceptance, all retries together.
    pub timeout_ms: Option<u64>,
    /// How often the whole job may be started again after a failure that might pass.
    pub retries: u32,
    /// Tasks that take far longer than the others of their stage get a second attempt.
    pub race_stragglers: bool,
    /// What must hold over the rows of whole steps before the job may commit.
    pub count_checks: Vec<CountCheck>,
    /// Workers may have executors of the job, and must be told when it has ended.
    pub executors: bool,
}

/// The shape of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagePlan {
    /// A short name for people.
    pub name: String,
    /// The stages whose output it reads, each once.
    pub inputs: Vec<StageId>,
    /// Partitions of its plan.
    pub partitions: u32,
    /// One task runs all partitions; otherwise each partition is a task.
    pub share_plan: bool,
    /// Output partitions that each plan partition writes.
    pub outputs: u32,
    /// How else than one task per partition the work may be divided.
    pub divisible: Divisible,
    /// What becomes of the output.
    pub role: StageRole,
    /// Running a partition again gives the same rows in the same output partitions. When not, losing output that was
    /// read starts every reader again.
    pub deterministic: bool,
    /// How else it may get its rows, if one of its inputs turns out small.
    pub fusion: Option<FusionPlan>,
    /// What each of its tasks needs besides a slot, if anything.
    pub needs: Option<StageNeeds>,
}

/// How a stage may take over the work of the one that makes the probe side of its join: [`tandem_graph::Fusion`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FusionPlan {
    /// The stage that makes the build side.
    pub build: StageId,
    /// The stage whose work is taken over.
    pub probe: StageId,
    /// Rows of the probe side, estimated.
    pub probe_rows: Option<u64>,
    /// The shapes it may take, by how many stages it takes over, less one.
    pub variants: Vec<VariantPlan>,
}

/// The shape of a stage that has taken over others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariantPlan {
    /// In place of the stage's own, like all of these.
    pub name: String,
    /// See [`StagePlan::inputs`].
    pub inputs: Vec<StageId>,
    /// See [`StagePlan::partitions`].
    pub partitions: u32,
    /// See [`StagePlan::divisible`].
    pub divisible: Divisible,
}

/// How many rows must come out of a step, over all its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountCheck {
    /// The step.
    pub step: String,
    /// Fewest rows, inclusive.
    pub min_rows: Option<u64>,
    /// Most rows, inclusive.
    pub max_rows: Option<u64>,
}

impl JobPlan {
    /// The shape of `graph` as a detached job that is not journaled, without timeout, retries and checks.
    pub fn new(name: impl Into<String>, graph: &StageGraph) -> Self {
        Self {
            name: name.into(),
            stages: graph.stages.iter().map(StagePlan::new).collect(),
            attached: false,
            journaled: false,
            timeout_ms: None,
            retries: 0,
            race_stragglers: true,
            count_checks: Vec::new(),
            executors: false,
        }
    }

    /// Whether the job is a program: its only stage is the driver.
    pub fn is_program(&self) -> bool {
        self.stages.iter().any(|stage| stage.role.is_driver())
    }

    /// The ids of all stages, inputs first.
    pub fn stage_ids(&self) -> impl DoubleEndedIterator<Item = StageId> + use<> {
        (1..=self.stages.len() as u32).map(StageId)
    }

    /// The stage with this id, if the job has one.
    pub fn stage(&self, id: StageId) -> Option<&StagePlan> {
        self.stages.get((id.0 as usize).checked_sub(1)?)
    }

    /// Whether a stage writes for a sink, so that the job must commit.
    pub fn has_sinks(&self) -> bool {
        self.stages.iter().any(|stage| matches!(stage.role, StageRole::Sink(_)))
    }

    /// The stage whose output the client reads.
    pub fn result_stage(&self) -> Option<StageId> {
        self.stage_ids().zip(&self.stages).find(|(_, stage)| stage.role == StageRole::Result).map(|(id, _)| id)
    }
}

impl FusionPlan {
    /// How many stages can be taken over at most.
    pub(crate) fn deepest(&self) -> u32 {
        self.variants.len() as u32
    }

    fn new(fusion: &Fusion) -> Self {
        let variants = fusion.variants.iter().map(|variant| VariantPlan {
            name: variant.name.clone(),
            inputs: variant.inputs.clone(),
            partitions: variant.partitions,
            divisible: variant.divisible.clone(),
        });
        Self { build: fusion.build, probe: fusion.probe, probe_rows: fusion.probe_rows, variants: variants.collect() }
    }
}

impl StagePlan {
    /// The shape of a stage.
    pub fn new(stage: &Stage) -> Self {
        Self {
            name: stage.name.clone(),
            inputs: stage.inputs.clone(),
            partitions: stage.partitions,
            share_plan: stage.share_plan,
            outputs: stage.outputs,
            divisible: stage.divisible.clone(),
            role: stage.role.clone(),
            deterministic: stage.deterministic,
            fusion: stage.fusion.as_ref().map(FusionPlan::new),
            needs: stage.needs.clone(),
        }
    }

    /// Takes the shape of a stage that has taken over `depth` others.
    ///
    /// # Panics
    /// When it has no such variant.
    pub(crate) fn fuse(&mut self, depth: u32) {
        let fusion = self.fusion.as_ref().expect("only a stage with variants is fused");
        let VariantPlan { name, inputs, partitions, divisible } = fusion.variants[depth as usize - 1].clone();
        (self.name, self.inputs, self.partitions, self.divisible) = (name, inputs, partitions, divisible);
    }

    /// Number of tasks, as long as nothing is known of the inputs.
    pub fn tasks(&self) -> u32 {
        if self.share_plan { 1 } else { self.partitions }
    }
}
