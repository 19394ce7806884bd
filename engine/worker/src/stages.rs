//! The stages this worker runs tasks of. Each comes with its first task, or is fetched from the coordinator once.
//!
//! Invariant: a stage in one version of its inputs is fetched by one caller at a time, whoever asks meanwhile waits for it;
//! all stages of a job share one session, whose storage sends its requests from the I/O threads; versions older than the one before
//! the latest, and everything of a dropped job, are forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::execution::runtime_env::RuntimeEnv;
use tandem_exec::error::TaskError;
use tandem_exec::storage::Storage;
use tandem_exec::task::{JobSession, LoadedStage};
use tandem_proto::v1::{GetStageRequest, Program, StageDefinition};
use tandem_proto::{JobId, StageId, WorkerId};
use tokio::runtime::Handle;
use tokio::sync::OnceCell;

use crate::coordinator::CoordinatorCalls;

/// Versions kept of one stage: tasks of the version before the latest may still be on their way.
const KEPT_VERSIONS: usize = 2;

/// What tasks of a stage run.
#[derive(Clone)]
pub(crate) enum Work {
    /// Partitions of its plan.
    Plan {
        /// The plan and what goes with it.
        stage: Arc<LoadedStage>,
        /// Thousandths of GPUs that each task has, if it has anything besides a slot.
        gpus_milli: Option<u64>,
    },
    /// The job's main program.
    Driver(Arc<Program>),
}

type Slot = Arc<OnceCell<Work>>;

#[derive(Default)]
struct Job {
    session: Option<Arc<JobSession>>,
    stages: HashMap<StageId, BTreeMap<u32, Slot>>,
    /// Those that came with the launch of a task and were not loaded yet.
    offered: HashMap<(StageId, u32), StageDefinition>,
}

/// See the module's header.
pub(crate) struct StageCache {
    worker: WorkerId,
    coordinator: CoordinatorCalls,
    runtime: Arc<RuntimeEnv>,
    io: Handle,
    jobs: Mutex<HashMap<JobId, Job>>,
}

impl StageCache {
    /// An empty cache; stages will run with the memory and disk of `runtime` and reach storage from `io`.
    pub(crate) fn new(worker: WorkerId, coordinator: CoordinatorCalls, runtime: Arc<RuntimeEnv>, io: Handle) -> Self {
        Self { worker, coordinator, runtime, io, jobs: Mutex::default() }
    }

    /// The stage with the input locations of `version`, fetched when it is not there.
    pub(crate) async fn get(&self, job: JobId, stage: StageId, version: u32) -> Result<Work, TaskError> {
        let slot = self.slot(job, stage, version);
        slot.get_or_try_init(|| self.load(job, stage, version)).await.cloned()
    }

    /// Takes the definition of a stage that came without being asked for.
    pub(crate) fn offer(&self, job: JobId, stage: StageId, version: u32, definition: StageDefinition) {
        self.lock().entry(job).or_default().offered.insert((stage, version), definition);
    }

    /// Forgets all stages of `job`. Attempts that run keep theirs.
    pub(crate) fn drop_job(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// Forgets the stages of all other jobs.
    pub(crate) fn keep_jobs(&self, jobs: &BTreeSet<JobId>) {
        self.lock().retain(|job, _| jobs.contains(job));
    }

    async fn load(&self, job: JobId, stage: StageId, version: u32) -> Result<Work, TaskError> {
        let request = GetStageRequest { worker: self.worker.0, job: job.0, stage: stage.0, inputs_version: version };
        let offered = self.lock().get_mut(&job).and_then(|job| job.offered.remove(&(stage, version)));
        let mut definition = match offered {
            Some(definition) => definition,
            None => self.coordinator.stage(request).await?,
        };
        if let Some(program) = definition.driver.take() {
            return Ok(Work::Driver(Arc::new(program)));
        }
        let session = self.session(job, &mut definition)?;
        let gpus_milli = definition.gpus_milli;
        let stage = Arc::new(LoadedStage::with_session(definition, session)?);
        Ok(Work::Plan { stage, gpus_milli })
    }

    /// The job's session: all of its stages have the same environment and settings.
    fn session(&self, job: JobId, definition: &mut StageDefinition) -> Result<Arc<JobSession>, TaskError> {
        let mut jobs = self.lock();
        let known = &mut jobs.entry(job).or_default().session;
        if let Some(session) = known {
            return Ok(Arc::clone(session));
        }
        let environment = std::mem::take(&mut definition.environment).into_iter().collect();
        let storage = Arc::new(Storage::new(environment).with_io_runtime(self.io.clone()));
        let options = std::mem::take(&mut definition.settings).into_iter().collect();
        let session = Arc::new(JobSession::new(options, storage, &self.runtime)?);
        Ok(Arc::clone(known.insert(session)))
    }

    fn slot(&self, job: JobId, stage: StageId, version: u32) -> Slot {
        let mut jobs = self.lock();
        let versions = jobs.entry(job).or_default().stages.entry(stage).or_default();
        let slot = Arc::clone(versions.entry(version).or_default());
        while versions.len() > KEPT_VERSIONS {
            versions.pop_first();
        }
        slot
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    fn cache() -> StageCache {
        let (_, channel) = watch::channel(None);
        StageCache::new(WorkerId(1), CoordinatorCalls::new(channel), Arc::default(), Handle::current())
    }

    #[tokio::test]
    async fn the_same_version_is_one_slot_until_the_job_is_dropped() {
        let cache = cache();
        let (job, stage) = (JobId(1), StageId(2));
        let first = cache.slot(job, stage, 0);
        assert!(Arc::ptr_eq(&first, &cache.slot(job, stage, 0)));
        assert!(!Arc::ptr_eq(&first, &cache.slot(job, stage, 1)));
        assert!(!Arc::ptr_eq(&first, &cache.slot(JobId(9), stage, 0)));
        cache.drop_job(job);
        assert!(!Arc::ptr_eq(&first, &cache.slot(job, stage, 0)));
    }

    #[tokio::test]
    async fn only_the_latest_versions_are_kept() {
        let cache = cache();
        let (job, stage) = (JobId(1), StageId(2));
        for version in 0..5 {
            cache.slot(job, stage, version);
        }
        let kept: Vec<u32> = cache.lock()[&job].stages[&stage].keys().copied().collect();
        assert_eq!(kept, [3, 4]);
    }

    #[tokio::test]
    async fn what_came_with_a_launch_is_not_fetched() {
        let cache = cache();
        cache.offer(JobId(1), StageId(2), 0, StageDefinition::default());
        assert!(cache.get(JobId(1), StageId(2), 0).await.is_ok());
        assert!(cache.get(JobId(1), StageId(2), 0).await.is_ok(), "it stays");
        assert!(cache.get(JobId(1), StageId(2), 1).await.is_err(), "another version");
    }

    #[tokio::test]
    async fn a_worker_that_stops_fails_the_fetch() {
        let error = cache().get(JobId(1), StageId(1), 0).await.err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("stopping")));
    }
}
