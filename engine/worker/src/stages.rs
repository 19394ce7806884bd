//! The stages this worker runs tasks of, each fetched from the coordinator once.
//!
//! Invariant: a stage in one version of its inputs is fetched by one caller at a time, whoever asks meanwhile waits for it;
//! versions older than the one before the latest, and everything of a dropped job, are forgotten.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::execution::runtime_env::RuntimeEnv;
use tandem_exec::error::TaskError;
use tandem_exec::task::LoadedStage;
use tandem_proto::v1::GetStageRequest;
use tandem_proto::{JobId, StageId, WorkerId};
use tokio::sync::OnceCell;

use crate::coordinator::CoordinatorCalls;

/// Versions kept of one stage: tasks of the version before the latest may still be on their way.
const KEPT_VERSIONS: usize = 2;

type Slot = Arc<OnceCell<Arc<LoadedStage>>>;
type Versions = BTreeMap<u32, Slot>;

/// See the module's header.
pub(crate) struct StageCache {
    worker: WorkerId,
    coordinator: CoordinatorCalls,
    runtime: Arc<RuntimeEnv>,
    jobs: Mutex<HashMap<JobId, HashMap<StageId, Versions>>>,
}

impl StageCache {
    /// An empty cache; stages will run with the memory and disk of `runtime`.
    pub(crate) fn new(worker: WorkerId, coordinator: CoordinatorCalls, runtime: Arc<RuntimeEnv>) -> Self {
        Self { worker, coordinator, runtime, jobs: Mutex::default() }
    }

    /// The stage with the input locations of `version`, fetched when it is not there.
    pub(crate) async fn get(&self, job: JobId, stage: StageId, version: u32) -> Result<Arc<LoadedStage>, TaskError> {
        let slot = self.slot(job, stage, version);
        let loaded = slot.get_or_try_init(|| self.load(job, stage, version)).await?;
        Ok(Arc::clone(loaded))
    }

    /// Forgets all stages of `job`. Attempts that run keep theirs.
    pub(crate) fn drop_job(&self, job: JobId) {
        self.lock().remove(&job);
    }

    /// Forgets the stages of all other jobs.
    pub(crate) fn keep_jobs(&self, jobs: &BTreeSet<JobId>) {
        self.lock().retain(|job, _| jobs.contains(job));
    }

    async fn load(&self, job: JobId, stage: StageId, version: u32) -> Result<Arc<LoadedStage>, TaskError> {
        let request = GetStageRequest { worker: self.worker.0, job: job.0, stage: stage.0, inputs_version: version };
        let definition = self.coordinator.stage(request).await?;
        LoadedStage::new(definition, &self.runtime).map(Arc::new)
    }

    fn slot(&self, job: JobId, stage: StageId, version: u32) -> Slot {
        let mut jobs = self.lock();
        let versions = jobs.entry(job).or_default().entry(stage).or_default();
        let slot = Arc::clone(versions.entry(version).or_default());
        while versions.len() > KEPT_VERSIONS {
            versions.pop_first();
        }
        slot
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, HashMap<StageId, Versions>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    fn cache() -> StageCache {
        let (_, channel) = watch::channel(None);
        StageCache::new(WorkerId(1), CoordinatorCalls::new(channel), Arc::default())
    }

    #[test]
    fn the_same_version_is_one_slot_until_the_job_is_dropped() {
        let cache = cache();
        let (job, stage) = (JobId(1), StageId(2));
        let first = cache.slot(job, stage, 0);
        assert!(Arc::ptr_eq(&first, &cache.slot(job, stage, 0)));
        assert!(!Arc::ptr_eq(&first, &cache.slot(job, stage, 1)));
        assert!(!Arc::ptr_eq(&first, &cache.slot(JobId(9), stage, 0)));
        cache.drop_job(job);
        assert!(!Arc::ptr_eq(&first, &cache.slot(job, stage, 0)));
    }

    #[test]
    fn only_the_latest_versions_are_kept() {
        let cache = cache();
        let (job, stage) = (JobId(1), StageId(2));
        for version in 0..5 {
            cache.slot(job, stage, version);
        }
        let kept: Vec<u32> = cache.lock()[&job][&stage].keys().copied().collect();
        assert_eq!(kept, [3, 4]);
    }

    #[tokio::test]
    async fn a_worker_that_stops_fails_the_fetch() {
        let error = cache().get(JobId(1), StageId(1), 0).await.err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("stopping")));
    }
}
