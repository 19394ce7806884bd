//! From a job spec to an accepted job: plan, journal, hand to the owner. Repeating a submission gives the first answer.
//!
//! ```text
//!   spec ─► planned ─► journaled (unless it is a query) ─► accepted
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_jobs::planned::PlannedJob;
use tandem_proto::v1::{JobSpec, SubmitRequest, job_spec::Work};
use tandem_proto::{JobId, Term};
use tandem_scheduler::{CountCheck, JobPlan};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::task::TaskTracker;
use tonic::Status;

use super::message::{Acceptance, ClusterHandle, Message, Stopping};
use super::package_service::PackageStores;
use super::planning::{Planner, with_help};
use crate::clock::Clock;
use crate::journal::{AcceptedJob, JobWork, Journal, JournalError};

/// Takes jobs in.
pub(crate) struct Submitter {
    planner: Planner,
    packages: PackageStores,
    journal: Arc<Journal>,
    handle: ClusterHandle,
    clock: Clock,
    term: Term,
    /// Submissions that are being taken in, by their id: a repeat waits for the first.
    pending: Mutex<HashMap<String, Arc<OnceCell<JobId>>>>,
    /// Submissions go on when their client goes away: it may ask again.
    running: TaskTracker,
}

impl Submitter {
    /// A submitter that tells `handle` of accepted jobs.
    pub(crate) fn new(
        (planner, packages): (Planner, PackageStores),
        (journal, clock): (Arc<Journal>, Clock),
        handle: ClusterHandle,
        term: Term,
    ) -> Self {
        Self { planner, packages, journal, handle, clock, term, pending: Mutex::default(), running: TaskTracker::new() }
    }

    /// The job of this submission, accepted now or before.
    pub(crate) async fn submit(self: Arc<Self>, request: SubmitRequest) -> Result<JobId, Status> {
        let this = self.clone();
        let running = self.running.spawn(async move {
            let id = request.submission_id.clone();
            if id.is_empty() {
                return this.take_in(request).await;
            }
            let cell = this.pending().entry(id.clone()).or_default().clone();
            let job = cell.get_or_try_init(|| this.find_or_take_in(request)).await.copied();
            let mut pending = this.pending();
            // Nobody else waits for it: the other holder is the table itself.
            if Arc::strong_count(&cell) <= 2 {
                pending.remove(&id);
            }
            job
        });
        running.await.unwrap_or_else(|error| Err(Status::internal(format!("the submission broke down: {error}"))))
    }

    /// The stages that a job would have.
    pub(crate) async fn plan(&self, spec: JobSpec) -> Result<PlannedJob, Status> {
        let slots = self.handle.look(|seen| seen.cluster.summary().slots).await?;
        Ok(self.planner.plan(spec, slots).await?)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<String, Arc<OnceCell<JobId>>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn find_or_take_in(&self, request: SubmitRequest) -> Result<JobId, Status> {
        let id = request.submission_id.clone();
        match self.handle.look(move |seen| seen.jobs.submitted_as(&id)).await? {
            Some(job) => Ok(job),
            None => self.take_in(request).await,
        }
    }

    async fn take_in(&self, request: SubmitRequest) -> Result<JobId, Status> {
        let SubmitRequest { spec, attached, submission_id } = request;
        let spec = spec.ok_or_else(|| Status::invalid_argument("the submission has no job"))?;
        let journaled = matches!(spec.work, Some(Work::File(_) | Work::Program(_)));
        let planned = self.plan(spec).await?;
        planned.program.as_ref().map_or(Ok(()), |program| self.packages.check(program))?;
        let shape = Arc::new(shape_of(&planned, attached, journaled));
        let job = draw_id();
        if journaled {
            self.journal_job(job, &submission_id, &shape, &planned).await?;
        }
        let (answer, accepted) = oneshot::channel();
        let planned = Arc::new(planned);
        let acceptance = Acceptance { job, submission: submission_id, shape, planned, answer };
        self.handle.send(Message::Accepted(Box::new(acceptance))).await?;
        accepted.await.map_err(|_| Stopping)?;
        Ok(job)
    }

    async fn journal_job(
        &self,
        job: JobId,
        submission: &str,
        shape: &Arc<JobPlan>,
        planned: &PlannedJob,
    ) -> Result<(), Status> {
        let mut open = planned.clone();
        let secrets = std::mem::take(&mut open.secrets);
        let planned = postcard::to_stdvec(&open)
            .map_err(|error| Status::internal(format!("the job cannot be written down: {error}")))?;
        let accepted = AcceptedJob {
            job,
            submission: submission.to_owned(),
            accepted: self.clock.now(),
            term: self.term,
            shape: shape.clone(),
            work: Some(JobWork { planned: planned.into(), secrets }),
        };
        self.journal.accept(accepted).await.map_err(refused)
    }
}

fn refused(error: JournalError) -> Status {
    let message = with_help(format!("the job was not accepted: {error}"), error.help());
    match error {
        JournalError::Full { .. } => Status::resource_exhausted(message),
        JournalError::Closed => Status::unavailable(message),
        JournalError::Locked { .. }
        | JournalError::Io { .. }
        | JournalError::Damaged { .. }
        | JournalError::Version { .. }
        | JournalError::Secrets { .. }
        | JournalError::Key { .. } => Status::failed_precondition(message),
    }
}

/// Never zero, which stands for no job on the wire.
fn draw_id() -> JobId {
    JobId(rand::random_range(1..=u64::MAX))
}

fn shape_of(planned: &PlannedJob, attached: bool, journaled: bool) -> JobPlan {
    let count_checks = planned.count_checks.iter().map(|check| CountCheck {
        step: check.step.clone(),
        min_rows: check.min_rows,
        max_rows: check.max_rows,
    });
    JobPlan {
        attached,
        journaled,
        timeout_ms: planned.timeout_ms,
        retries: planned.retries,
        race_stragglers: planned.race_stragglers,
        count_checks: count_checks.collect(),
        executors: planned.program.is_some(),
        ..JobPlan::new(planned.name.clone(), &planned.graph)
    }
}
