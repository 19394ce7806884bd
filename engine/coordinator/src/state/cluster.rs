//! The whole cluster: every worker and job, and the one way to change them.
//! Owned by the coordinator actor.

use std::sync::Arc;

use tandem_proto::{JobId, StageId, Term};

use super::action::{Action, Fact};
use super::config::ClusterConfig;
use super::event::Event;
use super::plan::JobPlan;
use super::report::StagedFile;
use super::time::Timestamp;
use super::views::{ClusterView, Counters, InputsError, JobView, NodeView, StageInput, TaskView};

/// A job that the journal knows, for [`Cluster::restore`].
#[derive(Debug, Clone)]
pub struct RestoredJob {
    /// The job.
    pub job: JobId,
    /// Its shape.
    pub plan: Arc<JobPlan>,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// The term it was accepted in. Attempts of later terms are numbered from other thousands, so that none is mistaken for one of
    /// an earlier term that still runs.
    pub accepted_term: Term,
    /// How far its commit had come.
    pub commit: RestoredCommit,
}

/// How far the commit of a restored job had come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RestoredCommit {
    /// No intent was journaled.
    #[default]
    None,
    /// The intent to publish these files was journaled; it is rolled forward.
    Intended(Vec<StagedFile>),
    /// Everything is published.
    Done,
}

/// The state of the cluster.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    term: Term,
}

impl Cluster {
    /// An empty cluster. `term` is this coordinator's, higher than any before it over the same data folder.
    pub fn new(config: ClusterConfig, term: Term) -> Self {
        Self { config, term }
    }

    /// The cluster as the journal knows it, and what to do at once: commits are rolled forward, leftovers removed.
    /// Jobs in order of acceptance, facts in order of recording; facts of unknown jobs are ignored.
    pub fn restore(
        config: ClusterConfig,
        term: Term,
        now: Timestamp,
        jobs: Vec<RestoredJob>,
        facts: Vec<Fact>,
    ) -> (Self, Vec<Action>) {
        let _ = (now, jobs, facts);
        (Self::new(config, term), Vec::new())
    }

    /// Advances the state by one event. Pure but for `self`; never fails: what makes no sense is dropped.
    pub fn handle(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let _ = (now, event, &self.config, self.term);
        Vec::new()
    }

    /// When [`Event::Tick`] is due; none when nothing waits for time.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    /// The leases and limits it decides by.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// One job.
    pub fn job(&self, _job: JobId) -> Option<JobView> {
        None
    }

    /// All remembered jobs, oldest first, without their operators.
    pub fn jobs(&self) -> Vec<JobView> {
        Vec::new()
    }

    /// The tasks of a job and their earlier attempts, in order; none when the job is unknown.
    pub fn tasks(&self, _job: JobId) -> Option<Vec<TaskView>> {
        None
    }

    /// All workers, and the last few that are gone.
    pub fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }

    /// Sums over the cluster.
    pub fn summary(&self) -> ClusterView {
        ClusterView::default()
    }

    /// What happened since this coordinator started.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }

    /// Where the attempts of `stage` that were launched with `version` find their inputs.
    pub fn stage_inputs(&self, job: JobId, _stage: StageId, _version: u32) -> Result<Vec<StageInput>, InputsError> {
        Err(InputsError::NoSuchJob(job))
    }
}
