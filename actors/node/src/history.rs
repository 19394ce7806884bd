//! What has run on this worker, of jobs that are over too: the newest attempts, and how many there were of each function.
//! Bounded, and nothing is decided by it: it is there to be looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::{ActorId, CallId, JobId};

use crate::timers::Timestamp;

/// Attempts that ended well and are kept, and those that did not: they are what people look for, and there are fewer.
const KEPT: usize = 8_192;
const KEPT_FAILURES: usize = 2_048;
/// Jobs of which counts are kept.
const KEPT_JOBS: usize = 256;
/// Characters of a failure's text that are kept.
const FAILURE_CHARS: usize = 1_000;

/// One attempt of a task, or one call of an actor, that has ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its job.
    pub job: JobId,
    /// Which call.
    pub call: CallId,
    /// The actor, for a call of one.
    pub actor: Option<ActorId>,
    /// The function or method.
    pub function: Arc<str>,
    /// Its name for people, where that is another one.
    pub name: Option<Box<str>>,
    /// Which attempt, counted from 0.
    pub attempt: u32,
    /// When it began; none if it never did.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// The id of the process that ran it.
    pub pid: Option<u32>,
    /// Why it has no result, if it has none.
    pub failure: Option<Box<(FailureKind, String)>>,
}

/// How the attempts of one function ended here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// With a result.
    pub finished: u64,
    /// Without one.
    pub failed: u64,
    /// Time they ran in all, in microseconds.
    pub run_us: u64,
    /// Time the longest of them ran, in microseconds.
    pub longest_us: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    finished: VecDeque<Ended>,
    failed: VecDeque<Ended>,
    /// Attempts that were kept and are no more.
    forgotten: u64,
    tallies: FxHashMap<JobId, FxHashMap<Arc<str>, Tally>>,
    /// The jobs of the tallies, the oldest one first.
    jobs: VecDeque<JobId>,
}

impl History {
    pub(crate) fn add(&mut self, ended: Ended) {
        self.count(&ended);
        let (list, kept) = match ended.failure {
            Some(_) => (&mut self.failed, KEPT_FAILURES),
            None => (&mut self.finished, KEPT),
        };
        if list.len() == kept {
            list.pop_front();
            self.forgotten += 1;
        }
        list.push_back(ended);
    }

    fn count(&mut self, ended: &Ended) {
        if !self.tallies.contains_key(&ended.job) {
            self.begin_job(ended.job);
        }
        let of_job = self.tallies.entry(ended.job).or_default();
        let tally = match of_job.get_mut(&ended.function) {
            Some(tally) => tally,
            None => of_job.entry(Arc::clone(&ended.function)).or_default(),
        };
        match ended.failure {
            Some(_) => tally.failed += 1,
            None => tally.finished += 1,
        }
        let run_us = ended.began.map_or(0, |began| ended.ended.us_since(began));
        tally.run_us += run_us;
        tally.longest_us = tally.longest_us.max(run_us);
    }

    fn begin_job(&mut self, job: JobId) {
        if self.jobs.len() == KEPT_JOBS
            && let Some(oldest) = self.jobs.pop_front()
        {
            self.tallies.remove(&oldest);
        }
        self.jobs.push_back(job);
    }

    /// The attempts that are kept, and how many are no more.
    pub(crate) fn ended(&self) -> (impl Iterator<Item = &Ended>, u64) {
        (self.finished.iter().chain(&self.failed), self.forgotten)
    }

    /// How often each function of a job has run.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = (JobId, &Arc<str>, Tally)> {
        let of_job = |(job, tallies): (&JobId, _)| (*job, tallies);
        self.tallies.iter().map(of_job).flat_map(|(job, tallies): (_, &FxHashMap<_, _>)| {
            tallies.iter().map(move |(function, tally)| (job, function, *tally))
        })
    }
}

/// What is kept of a failure.
pub(crate) fn kept(failure: &Failure) -> Box<(FailureKind, String)> {
    Box::new((failure.kind, failure.to_string().chars().take(FAILURE_CHARS).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(job: u64, number: u128, failed: bool) -> Ended {
        Ended {
            job: JobId(job),
            call: CallId(number),
            actor: None,
            function: "my_app::area".into(),
            name: None,
            attempt: 0,
            began: Some(Timestamp(10)),
            ended: Timestamp(25),
            pid: None,
            failure: failed.then(|| Box::new((FailureKind::Panicked, "oh".to_owned()))),
        }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut history = History::default();
        let count = KEPT as u128 + 10;
        history.add(ended(1, 0, true));
        (1..=count).for_each(|number| history.add(ended(1, number, false)));
        let (kept, forgotten) = history.ended();
        let kept: Vec<_> = kept.map(|ended| ended.call.0).collect();
        assert_eq!((kept.len(), kept[0], kept[KEPT], forgotten), (KEPT + 1, 11, 0, 10));
        let tallies: Vec<_> = history.tallies().map(|(_, function, tally)| (function.to_string(), tally)).collect();
        let expected = Tally { finished: count as u64, failed: 1, run_us: 15 * (count as u64 + 1), longest_us: 15 };
        assert_eq!(tallies, [("my_app::area".to_owned(), expected)]);
    }

    #[test]
    fn counts_of_the_oldest_jobs_go() {
        let mut history = History::default();
        (0..KEPT_JOBS as u64 + 3).for_each(|job| history.add(ended(job, 0, false)));
        let jobs: std::collections::BTreeSet<_> = history.tallies().map(|(job, ..)| job.0).collect();
        assert_eq!((jobs.len(), jobs.first()), (KEPT_JOBS, Some(&3)));
    }
}
