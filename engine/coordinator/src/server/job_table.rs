//! What the shell keeps of each job besides its state: the plans, who follows it, its report.
//! Owned by the owner of the cluster. An entry is there as long as the state machine remembers the job.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tandem_graph::Stage;
use tandem_jobs::planned::{PlannedJob, PlannedProgram};
use tandem_proto::JobId;
use tandem_scheduler::{JobPlan, JobView};
use tokio::sync::watch;

use crate::journal::StoredReport;
use crate::wire::JobFace;

/// A job of more tasks changes often, and each view of it takes a while to build: followers see it at most so often.
const MANY_TASKS: u32 = 256;
const PACE_OF_MANY: Duration = Duration::from_millis(50);
const PACE_OF_FEW: Duration = Duration::from_millis(5);

/// The jobs by id.
#[derive(Default)]
pub(crate) struct JobTable {
    jobs: HashMap<JobId, JobEntry>,
}

/// One job.
pub(crate) struct JobEntry {
    /// Plans, environment, sinks; none once nothing is left to do.
    pub(crate) planned: Option<Arc<PlannedJob>>,
    /// What its status shows besides its state.
    pub(crate) face: Arc<JobFace>,
    /// The client's id of its submission.
    pub(crate) submission: String,
    /// How it went, once it has ended.
    pub(crate) report: Option<StoredReport>,
    /// Why the files of the report could not be written.
    pub(super) report_problem: Option<String>,
    /// It is in the journal.
    pub(super) journaled: bool,
    /// It writes files.
    pub(super) has_sinks: bool,
    followers: Followers,
}

/// Who follows one job, and when they last saw something.
struct Followers {
    count: usize,
    views: watch::Sender<Option<Arc<JobView>>>,
    shown: Option<Instant>,
    pace: Duration,
}

impl JobEntry {
    /// An entry for a job of this `shape`, without followers.
    pub(crate) fn new(submission: String, shape: &JobPlan, planned: Option<Arc<PlannedJob>>) -> Self {
        let tasks: u32 = shape.stages.iter().map(|stage| stage.tasks()).fold(0, u32::saturating_add);
        let pace = if tasks > MANY_TASKS { PACE_OF_MANY } else { PACE_OF_FEW };
        Self {
            face: Arc::new(planned.as_deref().map(face_of).unwrap_or_default()),
            planned,
            submission,
            report: None,
            report_problem: None,
            journaled: shape.journaled,
            has_sinks: shape.has_sinks(),
            followers: Followers { count: 0, views: watch::Sender::new(None), shown: None, pace },
        }
    }

    /// What is shown of it, without following: nothing may be shown before it ends.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<JobView>>> {
        self.followers.views.subscribe()
    }

    /// One more follower; it watches what this returns.
    pub(super) fn follow(&mut self) -> watch::Receiver<Option<Arc<JobView>>> {
        self.followers.count += 1;
        self.followers.views.subscribe()
    }

    /// One follower less. Returns whether it was the last.
    pub(super) fn unfollow(&mut self) -> bool {
        self.followers.count = self.followers.count.saturating_sub(1);
        self.followers.count == 0
    }

    /// When followers may see the next change; none when there are none.
    pub(super) fn next_showing(&self) -> Option<Instant> {
        (self.followers.count > 0)
            .then(|| self.followers.shown.map_or_else(Instant::now, |at| at + self.followers.pace))
    }

    /// Shows `view` to all followers.
    pub(super) fn show(&mut self, view: JobView) {
        self.followers.shown = Some(Instant::now());
        self.followers.views.send_replace(Some(Arc::new(view)));
    }
}

fn face_of(planned: &PlannedJob) -> JobFace {
    JobFace {
        result_schema: planned.result.as_ref().map(|result| Bytes::from(result.schema_ipc.clone())).unwrap_or_default(),
        result_stage: planned.result.as_ref().map(|result| result.stage),
        plans: planned.graph.stages.iter().map(displays).collect(),
    }
}

/// How the plans of a stage are shown, by how many others it takes over.
fn displays(stage: &Stage) -> Vec<String> {
    let variants = stage.fusion.iter().flat_map(|fusion| &fusion.variants).map(|variant| variant.display.clone());
    std::iter::once(stage.display.clone()).chain(variants).collect()
}

impl JobTable {
    pub(crate) fn insert(&mut self, job: JobId, entry: JobEntry) {
        self.jobs.insert(job, entry);
    }

    pub(crate) fn get(&self, job: JobId) -> Option<&JobEntry> {
        self.jobs.get(&job)
    }

    pub(super) fn get_mut(&mut self, job: JobId) -> Option<&mut JobEntry> {
        self.jobs.get_mut(&job)
    }

    pub(super) fn remove(&mut self, job: JobId) -> Option<JobEntry> {
        self.jobs.remove(&job)
    }

    /// The packages and attached files of jobs that may still run.
    pub(super) fn packages(&self) -> impl Iterator<Item = &str> {
        let programs = self.jobs.values().filter_map(|entry| entry.planned.as_ref()?.program.as_ref());
        programs.flat_map(named_by)
    }

    /// The job of a submission, unless that had no id.
    pub(super) fn submitted_as(&self, submission: &str) -> Option<JobId> {
        let named = !submission.is_empty();
        self.jobs.iter().find(|(_, entry)| named && entry.submission == submission).map(|(job, _)| *job)
    }
}

/// The package and the attached files of a program.
fn named_by(program: &PlannedProgram) -> impl Iterator<Item = &str> {
    let package = Some(program.package.as_str()).filter(|package| !package.is_empty());
    package.into_iter().chain(program.files.iter().map(|file| file.hash.as_str()))
}
