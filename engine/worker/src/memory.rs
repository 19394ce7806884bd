//! The one ledger of this worker's memory, and DataFusion's runtime over it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

use crate::error::WorkerError;

/// Consumers that an error about a full pool names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::new(5).expect("not zero");
/// The disk itself is the limit of what is spilled.
const SPILL_LIMIT_BYTES: u64 = 1 << 60;
/// Parquet footers kept between tasks: a share of the memory that nobody counts.
const METADATA_SHARE: u64 = 32;

/// A pool that shares `limit_bytes` evenly among those who can spill and says who holds most when it is full.
pub(crate) fn pool(limit_bytes: u64) -> Arc<dyn MemoryPool> {
    let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    Arc::new(TrackConsumersPool::new(FairSpillPool::new(limit), NAMED_CONSUMERS))
}

/// DataFusion's runtime over `pool`, spilling under `folder`.
pub(crate) fn runtime(
    pool: &Arc<dyn MemoryPool>,
    limit_bytes: u64,
    folder: PathBuf,
) -> Result<Arc<RuntimeEnv>, WorkerError> {
    let disk = DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![folder]))
        .with_max_temp_directory_size(SPILL_LIMIT_BYTES);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(pool))
        .with_disk_manager_builder(disk)
        .with_metadata_cache_limit(usize::try_from(limit_bytes / METADATA_SHARE).unwrap_or(usize::MAX))
        .build_arc()
        .map_err(|error| WorkerError::QueryEngine(error.strip_backtrace()))
}
