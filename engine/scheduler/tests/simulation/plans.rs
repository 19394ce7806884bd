//! Random jobs and what their clients do with them.

use std::sync::Arc;

use tandem_graph::{Divisible, Stage, StageNeeds, StageRole};
use tandem_proto::StageId;
use tandem_scheduler::{CPUS, CountCheck, FusionPlan, JobPlan, StagePlan, VariantPlan};

use crate::rng::Rng;

/// A job and what will happen to it.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) plan: Arc<JobPlan>,
    /// This task fails wherever it runs.
    pub(crate) fatal: Option<(StageId, u32)>,
    /// Percent of attempts that fail by themselves.
    pub(crate) flaky_percent: u64,
    /// Percent of commits that fail.
    pub(crate) commit_fails_percent: u64,
    /// Milliseconds after which someone stops it.
    pub(crate) stop_after_ms: Option<u64>,
    /// Milliseconds after which its follower is gone for good.
    pub(crate) client_dies_after_ms: Option<u64>,
}

/// A job of one to six stages, or a program now and then.
pub(crate) fn random_script(rng: &mut Rng) -> Script {
    let is_program = rng.chance(20);
    let stages = if is_program { vec![StagePlan::new(&Stage::driver())] } else { random_stages(rng) };
    let has_result = stages.iter().any(|stage| stage.role == StageRole::Result);
    let attached = rng.chance(40);
    let check_breaks = rng.chance(4) && !is_program;
    let plan = JobPlan {
        name: "simulated".to_owned(),
        attached,
        journaled: !has_result || rng.chance(50),
        timeout_ms: rng.chance(8).then(|| rng.range(2_000..40_000)),
        retries: if rng.chance(30) { rng.range(1..3) as u32 } else { 0 },
        race_stragglers: rng.chance(80),
        count_checks: if check_breaks { vec![broken_check()] } else { Vec::new() },
        executors: is_program,
        stages,
    };
    let fatal = rng.chance(6).then(|| {
        let stage = rng.range(0..plan.stages.len() as u64);
        let task = rng.range(0..u64::from(plan.stages[stage as usize].tasks()));
        (StageId(stage as u32 + 1), task as u32)
    });
    Script {
        fatal,
        flaky_percent: if rng.chance(30) { rng.range(1..15) } else { 0 },
        commit_fails_percent: if rng.chance(20) { 30 } else { 0 },
        stop_after_ms: rng.chance(10).then(|| rng.range(0..15_000)),
        client_dies_after_ms: (attached && rng.chance(25)).then(|| rng.range(0..15_000)),
        plan: Arc::new(plan),
    }
}

/// No step of this name is ever counted.
fn broken_check() -> CountCheck {
    CountCheck { step: "never".to_owned(), min_rows: Some(1), max_rows: None }
}

fn random_stages(rng: &mut Rng) -> Vec<StagePlan> {
    let count = rng.range(1..7) as usize;
    let deterministic_job = rng.chance(80);
    let mut stages: Vec<StagePlan> = Vec::new();
    for place in 0..count {
        let mut inputs = Vec::new();
        for earlier in 0..place {
            if rng.chance(40) {
                inputs.push(StageId(earlier as u32 + 1));
            }
        }
        let (partitions, share_plan) = (rng.range(1..7) as u32, rng.chance(15));
        let divisible =
            if share_plan { Divisible::default() } else { random_divisible(rng, &stages, &inputs, partitions) };
        stages.push(StagePlan {
            name: format!("stage {}", place + 1),
            inputs,
            partitions,
            share_plan,
            divisible,
            outputs: if rng.chance(50) { 1 } else { rng.range(1..7) as u32 },
            role: StageRole::Exchange,
            deterministic: deterministic_job || rng.chance(60),
            fusion: None,
            needs: None,
        });
    }
    // What nobody reads yet is read by the last stage, but for an extra sink now and then.
    for place in 0..count - 1 {
        let id = StageId(place as u32 + 1);
        if !stages.iter().any(|stage| stage.inputs.contains(&id)) {
            if rng.chance(15) {
                stages[place].role = StageRole::Sink("side".to_owned());
            } else {
                stages[count - 1].inputs.push(id);
            }
        }
    }
    stages[count - 1].inputs.sort_unstable();
    let last_is_sink = rng.chance(50);
    stages[count - 1].role = if last_is_sink { StageRole::Sink("main".to_owned()) } else { StageRole::Result };
    if !last_is_sink {
        stages[count - 1].divisible.split_over = None;
    }
    for place in 0..count {
        stages[place].fusion = random_fusion(rng, &stages, place);
    }
    for place in 0..count {
        stages[place].needs = random_needs(rng, &stages, place);
    }
    stages
}

/// Now and then tasks need more than a slot: not of a stage that takes over others, or is taken over.
fn random_needs(rng: &mut Rng, stages: &[StagePlan], place: usize) -> Option<StageNeeds> {
    let id = StageId(place as u32 + 1);
    let taken_over = stages.iter().filter_map(|stage| stage.fusion.as_ref()).any(|fusion| fusion.probe == id);
    if taken_over || stages[place].fusion.is_some() || rng.chance(75) {
        return None;
    }
    let amounts: &[(&str, u64)] = match rng.range(0..6) {
        0 => &[],
        1 => &[(CPUS, 2_000)],
        2 => &[(CPUS, 500), ("gpus", 1_000)],
        3 => &[("gpus", 1_000)],
        _ => &[("gpus", 500)],
    };
    let label = (amounts.is_empty() || rng.chance(10)).then(|| ("zone".to_owned(), "a".to_owned()));
    Some(StageNeeds {
        step: stages[place].name.clone(),
        milli: amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect(),
        labels: label.into_iter().collect(),
    })
}

/// Now and then a stage may take over an input that only it reads, when another input is small.
fn random_fusion(rng: &mut Rng, stages: &[StagePlan], place: usize) -> Option<FusionPlan> {
    let stage = &stages[place];
    let readers = |input: StageId| stages.iter().filter(|stage| stage.inputs.contains(&input)).count();
    let probe = *stage.inputs.last()?;
    let build = *stage.inputs.first().filter(|build| **build != probe)?;
    let below = &stages[probe.0 as usize - 1];
    let plain = below.deterministic && stage.deterministic && stage.role != StageRole::Result;
    if readers(probe) != 1 || !plain || stage.share_plan || rng.chance(30) {
        return None;
    }
    let shapes = std::iter::once((&below.inputs, below.partitions))
        .chain(below.fusion.iter().flat_map(|fusion| &fusion.variants).map(|v| (&v.inputs, v.partitions)));
    let variants = shapes.map(|(inputs, partitions)| {
        let kept = stage.inputs.iter().filter(|input| **input != probe);
        let mut inputs: Vec<_> = kept.chain(inputs).copied().collect();
        inputs.sort_unstable();
        inputs.dedup();
        let divisible = Divisible { mergeable: rng.chance(50), ..Divisible::default() };
        VariantPlan { name: format!("fused {}", place + 1), inputs, partitions, divisible }
    });
    let variants = variants.collect();
    let probe_rows = Some(rng.range(0..20));
    Some(FusionPlan { build, probe, probe_rows, variants })
}

/// Sized by the inputs that happen to have a column for each partition, and now and then split over one of them.
fn random_divisible(rng: &mut Rng, stages: &[StagePlan], inputs: &[StageId], partitions: u32) -> Divisible {
    let fits = |input: &StageId| stages[input.0 as usize - 1].outputs == partitions;
    let sized_by: Vec<_> = inputs.iter().copied().filter(fits).collect();
    let split_over = sized_by.last().copied().filter(|_| rng.chance(70));
    Divisible { sized_by, split_over, mergeable: rng.chance(50), paired: Vec::new() }
}
