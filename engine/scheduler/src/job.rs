//! One job: its stages, its phase, and who still cares about it.
//! Owned by the [`Cluster`](super::Cluster). How stages depend on each other is in `lineage.rs`, how the job ends in
//! `lifecycle.rs`.
//!
//!   Active ──▶ Committing ──▶ Answered ⇄ Remaking
//!    │  ▲          │             │          │
//!    ▼  │          │             │          │
//!   Backoff ◀──────┤             │          │
//!    └─────────────┴─────────────┴──────────┴──▶ Ended
//!
//! From Answered on the outcome stands: the job succeeded, whatever becomes of the result.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tandem_proto::{JobId, StageId, TaskId, WorkerId};

use crate::config::ClusterConfig;
use crate::groups::Groups;
use crate::leases::Leases;
use crate::names::Names;
use crate::plan::JobPlan;
use crate::reason::{JobFailure, JobOutcome};
use crate::report::{AttemptId, StagedFile};
use crate::resources::{CPUS, SLOT_MILLI};
use crate::stage::{Keep, Numbering, Stage};
use crate::time::Timestamp;
use crate::views::{Counters, TaskState};
use crate::workers::Workers;
use crate::{Action, Fact};

/// What a job is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its tasks run or wait.
    Active,
    /// It failed and starts again then.
    Backoff { until: Timestamp },
    /// Its files are being published; from here it only goes forward.
    Committing,
    /// It succeeded and its result is kept for the client.
    Answered,
    /// Part of the result was lost while someone waits for it, and is made again.
    Remaking,
    /// It is over.
    Ended(JobOutcome),
}

/// What moves a job from phase to phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PhaseEvent {
    /// Its files may be published.
    Commit,
    /// Its result is complete, for the first time or again.
    Answer,
    /// A part of its result was lost while someone waits for it.
    ResultLost,
    /// It failed but may start again.
    Retry { until: Timestamp },
    /// The wait is over.
    Resume,
    /// It is over.
    End(JobOutcome),
}

/// A transition that must not happen: a bug in the state machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job cannot go from {phase:?} by {event:?}")]
pub(crate) struct IllegalPhase {
    phase: Box<Phase>,
    event: Box<PhaseEvent>,
}

impl Phase {
    /// The phase after `event`.
    pub(crate) fn apply(&mut self, event: PhaseEvent) -> Result<(), IllegalPhase> {
        *self = match (&*self, event) {
            (Self::Active, PhaseEvent::Commit) => Self::Committing,
            (Self::Active | Self::Committing | Self::Remaking, PhaseEvent::Answer) => Self::Answered,
            (Self::Answered, PhaseEvent::ResultLost) => Self::Remaking,
            (Self::Active | Self::Committing, PhaseEvent::Retry { until }) => Self::Backoff { until },
            (Self::Backoff { .. }, PhaseEvent::Resume) => Self::Active,
            (phase @ Self::Ended(_), event @ PhaseEvent::End(_)) => {
                return Err(IllegalPhase { phase: Box::new(phase.clone()), event: Box::new(event) });
            }
            (_, PhaseEvent::End(outcome)) => Self::Ended(outcome),
            (phase, event) => {
                return Err(IllegalPhase { phase: Box::new(phase.clone()), event: Box::new(event) });
            }
        };
        Ok(())
    }
}

/// Whether what an unsuccessful job staged is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cleaning {
    /// There is nothing to remove.
    Unneeded,
    /// The last attempts have not ended; they may still write.
    Waiting,
    /// The shell was asked.
    Asked,
}

/// Whether the job's files are published. A result that is made again must not publish twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publication {
    /// Not yet, or there are none.
    Outstanding,
    /// Yes.
    Done,
}

/// Whether the job is among those that are only remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// Not yet.
    Live,
    /// Yes, until newer ones take its place.
    Remembered,
}

/// Where a job came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This coordinator accepted it.
    Accepted,
    /// An earlier one did: workers that are expected back may run parts of it.
    Restored,
}

/// An attempt that was not accepted, or whose output was lost afterwards.
#[derive(Debug, Clone)]
pub(crate) struct PastAttempt {
    pub(crate) attempt: AttemptId,
    pub(crate) state: TaskState,
    pub(crate) worker: String,
    pub(crate) message: String,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
}

/// One job.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) plan: Arc<JobPlan>,
    pub(crate) origin: Origin,
    pub(crate) phase: Phase,
    pub(crate) publication: Publication,
    /// The files of a commit that an earlier coordinator began.
    pub(crate) intent: Vec<StagedFile>,
    pub(crate) cleaning: Cleaning,
    pub(crate) shelf: Shelf,
    pub(crate) accepted: Timestamp,
    /// Since when it counts on workers: its acceptance, the restart of the coordinator, or its own last retry.
    pub(crate) resumed: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) stages: Vec<Stage>,
    /// Stages whose tasks take more than a slot: mostly none.
    pub(crate) needy: Vec<StageId>,
    /// Stages with a task that could start if it had a slot.
    pub(crate) runnable: BTreeSet<StageId>,
    /// The same, where a task takes more than a slot.
    pub(crate) demanding: BTreeSet<StageId>,
    /// Stages nobody reads that are not finished: the job is done when there are none.
    pub(crate) open_ends: u32,
    /// Attempts that are placed, cancelled ones included. All but drivers have a slot.
    pub(crate) slots: u32,
    /// When it last got a slot, as a number that only grows: ties go to the one that waits longest.
    pub(crate) served: u64,
    pub(crate) followers: u32,
    /// When it is stopped, or its result dropped, if nobody follows it by then.
    pub(crate) lease_until: Timestamp,
    pub(crate) retries_used: u32,
    /// Workers that may hold output of it.
    pub(crate) holders: BTreeSet<WorkerId>,
    /// Workers that may have executors of it, and those that still are to be told that these are not wanted any more.
    pub(crate) members: BTreeSet<WorkerId>,
    pub(crate) untold: BTreeSet<WorkerId>,
    /// The last attempts that were not accepted.
    pub(crate) past: VecDeque<PastAttempt>,
}

/// What a job may use and change besides itself while it handles something.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a ClusterConfig,
    pub(crate) workers: &'a mut Workers,
    pub(crate) leases: &'a mut Leases,
    pub(crate) names: &'a mut Names,
    pub(crate) groups: &'a mut Groups,
    pub(crate) out: &'a mut Outbox,
    pub(crate) counters: &'a mut Counters,
}

/// What comes out of handling one event.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) actions: Vec<Action>,
    /// Jobs of which something changed.
    pub(crate) touched: BTreeSet<JobId>,
}

impl Job {
    /// A job of which nothing has run.
    pub(crate) fn new(id: JobId, plan: Arc<JobPlan>, accepted: Timestamp, numbering: Numbering) -> Self {
        let readers = |input| {
            let reads = plan.stage_ids().zip(&plan.stages).filter(move |(_, stage)| stage.inputs.contains(&input));
            reads.map(|(id, _)| id).collect::<Vec<_>>()
        };
        let stages: Vec<_> =
            plan.stage_ids().zip(&plan.stages).map(|(id, stage)| Stage::new(stage, readers(id), numbering)).collect();
        let mut job = Self {
            id,
            origin: Origin::Accepted,
            phase: Phase::Active,
            publication: Publication::Outstanding,
            intent: Vec::new(),
            cleaning: Cleaning::Unneeded,
            shelf: Shelf::Live,
            accepted,
            resumed: accepted,
            started: None,
            ended: None,
            open_ends: stages.iter().filter(|stage| stage.keep != Keep::ForReaders && !stage.is_finished()).count()
                as u32,
            needy: plan.stage_ids().zip(&stages).filter(|(_, stage)| stage.needs.is_some()).map(|(id, _)| id).collect(),
            runnable: BTreeSet::new(),
            demanding: BTreeSet::new(),
            slots: 0,
            served: 0,
            followers: 0,
            lease_until: accepted,
            retries_used: 0,
            holders: BTreeSet::new(),
            members: BTreeSet::new(),
            untold: BTreeSet::new(),
            past: VecDeque::new(),
            stages,
            plan,
        };
        for fusion in job.plan.stages.iter().filter_map(|stage| stage.fusion.as_ref()) {
            job.stages[fusion.probe.0 as usize - 1].held_back = true;
        }
        for id in job.plan.stage_ids() {
            job.refresh(id);
        }
        job
    }

    /// One of its stages.
    pub(crate) fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0 as usize - 1]
    }

    /// One of its stages.
    pub(crate) fn stage_mut(&mut self, id: StageId) -> &mut Stage {
        &mut self.stages[id.0 as usize - 1]
    }

    /// Whether the job has this task.
    pub(crate) fn has(&self, task: TaskId) -> bool {
        let stage = (task.stage.0 as usize).checked_sub(1).and_then(|place| self.stages.get(place));
        stage.is_some_and(|stage| task.index < stage.len())
    }

    /// Whether tasks of it may run.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Remaking)
    }

    /// Whether it has succeeded, so that only its result is left to care for.
    pub(crate) fn has_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered | Phase::Remaking)
    }

    /// Whether it is over.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }

    /// Whether it could use slots, or other processors.
    pub(crate) fn wants_slots(&self, workers_expected: bool) -> bool {
        let wants = !self.runnable.is_empty() || !self.demanding_of(None).is_empty();
        wants && self.may_start(workers_expected) && !self.plan.is_program()
    }

    /// Whether its driver waits for a worker.
    pub(crate) fn wants_driver(&self, workers_expected: bool) -> bool {
        !self.runnable.is_empty() && self.may_start(workers_expected) && self.plan.is_program()
    }

    /// Whether executors of it may get leases.
    pub(crate) fn may_lease(&self, workers_expected: bool) -> bool {
        self.plan.executors && self.may_start(workers_expected)
    }

    /// Thousandths of processors that its tasks take.
    pub(crate) fn task_cpus(&self) -> u64 {
        if self.plan.is_program() { 0 } else { u64::from(self.slots) * SLOT_MILLI + self.takes(CPUS) }
    }

    /// Of a restored job nothing starts while workers are expected back that may run it.
    pub(crate) fn may_start(&self, workers_expected: bool) -> bool {
        let waits = self.origin == Origin::Restored && workers_expected;
        self.is_active() && !waits
    }

    /// Whether it is over and nothing of it is left to sort out.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_ended() && self.slots == 0 && self.cleaning == Cleaning::Unneeded
    }

    /// The only way its phase changes.
    ///
    /// # Panics
    /// When the transition is illegal, which no input can bring about.
    pub(crate) fn advance(&mut self, event: PhaseEvent) {
        if let Err(bug) = self.phase.apply(event) {
            panic!("job {}: {bug}", self.id);
        }
    }

    /// Tasks that could start if they had slots, and compete for nothing else; counted up to `enough`.
    pub(crate) fn startable(&self, enough: u32) -> u32 {
        let mut count = 0u32;
        for &id in self.runnable.iter().chain(&self.demanding_of(None)) {
            count = count.saturating_add(self.stage(id).pending());
            if count >= enough {
                return enough;
            }
        }
        count
    }

    /// Keeps `runnable` and `demanding` right after a change of the stage, its inputs or the demand for it.
    pub(crate) fn refresh(&mut self, id: StageId) {
        let runnable = self.stage(id).is_runnable();
        let stages = if self.stage(id).needs.is_some() { &mut self.demanding } else { &mut self.runnable };
        if runnable {
            stages.insert(id);
        } else {
            stages.remove(&id);
        }
    }

    /// Remembers an attempt that does not count.
    pub(crate) fn remember(
        &mut self,
        cx: &Context<'_>,
        attempt: AttemptId,
        state: TaskState,
        worker: WorkerId,
        message: String,
    ) {
        if self.past.len() >= cx.config.kept_attempts {
            self.past.pop_front();
        }
        let stage = self.stage_mut(attempt.task.stage);
        stage.failed_attempts += 1;
        let started = stage.tasks[attempt.task.index as usize].started(attempt.attempt);
        let worker = cx.workers.name(worker);
        self.past.push_back(PastAttempt { attempt, state, worker, message, started, ended: cx.now });
    }

    /// Remembers an attempt that is ended because nothing wants it any more, while that pushes out none that failed.
    pub(crate) fn remember_cancelled(&mut self, cx: &Context<'_>, attempt: AttemptId, worker: WorkerId) {
        if self.past.len() < cx.config.kept_attempts {
            let started = self.stage(attempt.task.stage).tasks[attempt.task.index as usize].started(attempt.attempt);
            let (state, worker, message) = (TaskState::Cancelled, cx.workers.name(worker), String::new());
            self.past.push_back(PastAttempt { attempt, state, worker, message, started, ended: cx.now });
        }
    }

    /// An attempt that was cancelled had failed by itself before it heard of that.
    pub(crate) fn remember_failure(&mut self, cx: &Context<'_>, attempt: AttemptId, message: String) {
        let cancelled = |past: &&mut PastAttempt| past.attempt == attempt && past.state == TaskState::Cancelled;
        if let Some(past) = self.past.iter_mut().find(cancelled) {
            (past.state, past.message, past.ended) = (TaskState::Failed, message, cx.now);
            self.stage_mut(attempt.task.stage).failed_attempts += 1;
        }
    }

    /// A failure of this job that names the stage, the attempt and the worker.
    pub(crate) fn name_failure(&self, attempt: AttemptId, worker: String, failure: JobFailure) -> JobFailure {
        let stage = attempt.task.stage;
        let name = self.plan.stage(stage).map_or("", |plan| plan.name.as_str());
        JobFailure {
            stage: format!("{stage} ({name})"),
            task: format!("{stage}/{} attempt {}", attempt.task.index, attempt.attempt),
            worker,
            ..failure
        }
    }

    /// The journal entry, for a job that has one.
    pub(crate) fn record(&self, cx: &mut Context<'_>, fact: Fact) {
        if self.plan.journaled {
            cx.out.actions.push(Action::Record(fact));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phase_transitions() {
        let until = Timestamp(7);
        let backoff = Phase::Backoff { until };
        let ended = Phase::Ended(JobOutcome::Succeeded);
        let events = [
            PhaseEvent::Commit,
            PhaseEvent::Answer,
            PhaseEvent::ResultLost,
            PhaseEvent::Retry { until },
            PhaseEvent::Resume,
            PhaseEvent::End(JobOutcome::Succeeded),
        ];
        let (active, committing, answered, remaking) =
            (Phase::Active, Phase::Committing, Phase::Answered, Phase::Remaking);
        let table = [
            (&active, [Some(&committing), Some(&answered), None, Some(&backoff), None, Some(&ended)]),
            (&backoff, [None, None, None, None, Some(&active), Some(&ended)]),
            (&committing, [None, Some(&answered), None, Some(&backoff), None, Some(&ended)]),
            (&answered, [None, None, Some(&remaking), None, None, Some(&ended)]),
            (&remaking, [None, Some(&answered), None, None, None, Some(&ended)]),
            (&ended, [None, None, None, None, None, None]),
        ];
        for (before, after) in table {
            for (event, after) in events.clone().into_iter().zip(after) {
                let mut phase = before.clone();
                let result = phase.apply(event.clone());
                assert_eq!(result.is_ok().then_some(&phase), after, "{before:?} by {event:?}");
            }
        }
    }
}
