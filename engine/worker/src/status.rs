//! What this worker is doing, for heartbeats, metrics and readiness.

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use tandem_runtime::RuntimeHandle;
use tandem_store::ShuffleStore;
use tokio::sync::watch;

use crate::metrics::{Metrics, Readings};

/// What [`crate::control`] is in the middle of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Duties {
    /// Whether the coordinator knows this worker.
    pub(crate) attached: bool,
    /// Attempts that run.
    pub(crate) running: usize,
    /// Outputs held.
    pub(crate) held: usize,
}

/// Everything that can be read off a worker from outside its control task.
pub(crate) struct StatusBoard {
    /// Written by the control task alone.
    pub(crate) duties: watch::Receiver<Duties>,
    /// The ledger of memory.
    pub(crate) pool: Arc<dyn MemoryPool>,
    /// Task output.
    pub(crate) store: Arc<ShuffleStore>,
    /// Objects of programs.
    pub(crate) runtime: RuntimeHandle,
    /// Counters.
    pub(crate) metrics: Arc<Metrics>,
}

impl StatusBoard {
    /// All gauges now.
    pub(crate) fn readings(&self) -> Readings {
        let duties = *self.duties.borrow();
        let stored = self.store.stats();
        Readings {
            running_tasks: duties.running,
            held_outputs: duties.held,
            attached: duties.attached,
            pool_used_bytes: self.pool.reserved() as u64,
            stored_bytes: stored.memory_bytes,
            spilled_bytes: stored.spilled_bytes,
            objects: self.runtime.spill_stats(),
            lent: self.runtime.lent_stats(),
        }
    }

    /// The metrics as Prometheus reads them.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        self.metrics.render(&self.readings())
    }
}
