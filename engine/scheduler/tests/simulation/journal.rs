//! The journal of the simulated shell: accepted jobs, commits and ends are synced; other facts only now and then, so a crash
//! forgets the last of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tandem_proto::{JobId, Term};
use tandem_scheduler::{Fact, JobPlan, RestoredCommit, RestoredJob, StagedFile, Timestamp};

use crate::rng::Rng;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    jobs: Vec<RestoredJob>,
    facts: Vec<Fact>,
    synced: usize,
    intents: BTreeMap<JobId, Vec<StagedFile>>,
    done: BTreeSet<JobId>,
}

impl Journal {
    pub(crate) fn accept(&mut self, job: JobId, plan: Arc<JobPlan>, accepted: Timestamp, accepted_term: Term) {
        self.jobs.push(RestoredJob { job, plan, accepted, accepted_term, commit: RestoredCommit::None });
        self.sync();
    }

    pub(crate) fn record(&mut self, fact: Fact) {
        let ends = matches!(fact, Fact::JobEnded { .. });
        self.facts.push(fact);
        if ends {
            self.sync();
        }
    }

    pub(crate) fn intend(&mut self, job: JobId, files: Vec<StagedFile>) {
        self.intents.insert(job, files);
        self.sync();
    }

    pub(crate) fn done(&mut self, job: JobId) {
        self.done.insert(job);
        self.sync();
    }

    pub(crate) fn forget(&mut self, job: JobId) {
        self.jobs.retain(|known| known.job != job);
        self.facts.retain(|fact| fact.job() != Some(job));
        self.intents.remove(&job);
        self.done.remove(&job);
        self.sync();
    }

    pub(crate) fn sync(&mut self) {
        self.synced = self.facts.len();
    }

    /// What is found after a crash: some of what was not synced is gone.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> (Vec<RestoredJob>, Vec<Fact>) {
        let unsynced = (self.facts.len() - self.synced) as u64;
        self.facts.truncate(self.synced + rng.range(0..unsynced + 1) as usize);
        self.sync();
        let jobs = self.jobs.iter().map(|job| RestoredJob { commit: self.commit(job.job), ..job.clone() });
        (jobs.collect(), self.facts.clone())
    }

    fn commit(&self, job: JobId) -> RestoredCommit {
        match self.intents.get(&job) {
            Some(_) if self.done.contains(&job) => RestoredCommit::Done,
            Some(files) => RestoredCommit::Intended(files.clone()),
            None => RestoredCommit::None,
        }
    }
}
