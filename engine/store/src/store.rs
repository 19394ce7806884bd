//! The store: hands out writers and readers, drops what is done, and makes room when memory is short.
//!
//!   reserve: charge fits ─► go on        else spill the largest output, try again; nothing left to spill ─► charge anyway

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::execution::memory_pool::MemoryPool;
use tandem_ipc::BodyCompression;
use tandem_proto::{JobId, StageId};
use tokio::sync::{Notify, Semaphore};

use crate::budget::{Budget, Charge};
use crate::error::StoreError;
use crate::gather::GatherSize;
use crate::ipc_reader::IpcReader;
use crate::key::OutputKey;
use crate::output::{SpillClaim, TaskOutput};
use crate::reader::OutputReader;
use crate::spill_dir::SpillDir;
use crate::table::{Table, Victim, WriterId};
use crate::writer::{OutputWriter, relax};

/// More spills at once only make each other slower.
const MAX_SPILLS: usize = 4;
/// An output that is still written is spilled in pieces of at least this, or a share of the limit if that is less.
const MIN_SPILL_BYTES: u64 = 16 << 20;
const MIN_SPILL_SHARE: u64 = 8;

/// Where a worker keeps task output and how much of it in memory.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Folder of the spill files. May be shared by stores: each has a folder of its own in it.
    pub spill_dir: PathBuf,
    /// Bytes kept in memory before spilling, whatever the memory pool would grant.
    pub memory_limit_bytes: u64,
    /// Rows that small batches are joined to. Default 8192.
    pub batch_rows: usize,
    /// Bytes one writer may use to join small batches, over all its output partitions. Default 16 MiB, and
    /// at most an eighth of the memory limit.
    pub gather_limit_bytes: u64,
}

impl StoreConfig {
    /// A configuration with defaults for all but where and how much.
    pub fn new(spill_dir: impl Into<PathBuf>, memory_limit_bytes: u64) -> Self {
        let gather_limit_bytes = (16 << 20).min(memory_limit_bytes / 8);
        Self { spill_dir: spill_dir.into(), memory_limit_bytes, batch_rows: 8192, gather_limit_bytes }
    }
}

/// What a store holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes charged to the memory pool, output in the making included.
    pub memory_bytes: u64,
    /// Bytes in spill files.
    pub spilled_bytes: u64,
    /// Finished outputs.
    pub outputs: u64,
}

/// Keeps the output of tasks on one worker.
#[derive(Debug)]
pub struct ShuffleStore {
    config: StoreConfig,
    budget: Arc<Budget>,
    dir: Arc<SpillDir>,
    table: Mutex<Table>,
    spills: Semaphore,
    /// Told after each spill, whether it worked or not.
    spill_ended: Arc<Notify>,
}

impl ShuffleStore {
    /// Opens a store that charges `pool`, and removes what stores of dead processes left in the spill folder.
    pub fn new(config: StoreConfig, pool: Arc<dyn MemoryPool>) -> Result<Arc<Self>, StoreError> {
        let dir = Arc::new(SpillDir::open(&config.spill_dir)?);
        let budget = Budget::new(config.memory_limit_bytes, &pool);
        let spills = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_SPILLS));
        Ok(Arc::new(Self {
            config,
            budget,
            dir,
            table: Mutex::default(),
            spills: Semaphore::new(spills),
            spill_ended: Arc::default(),
        }))
    }

    /// A writer for an output of `outputs` partitions. Finishing a key again replaces what was there.
    pub fn writer(self: &Arc<Self>, key: OutputKey, schema: SchemaRef, outputs: usize) -> OutputWriter {
        let schema = relax(&schema);
        let limit_bytes = self.config.gather_limit_bytes as usize;
        let size = GatherSize::new(&schema, outputs, self.config.batch_rows, limit_bytes);
        let output = Arc::new(TaskOutput::new(key, schema, outputs, &self.budget, &self.dir));
        let id = self.table().begin(Arc::clone(&output));
        OutputWriter::new(Arc::clone(self), id, output, size, Charge::empty(&self.budget))
    }

    /// The batches of some output partitions of one output.
    pub fn read(&self, key: OutputKey, outputs: Range<usize>) -> Result<OutputReader, StoreError> {
        let output = self.find(key, &outputs)?;
        Ok(OutputReader::new(output, outputs))
    }

    /// The batches of some output partitions of many outputs of one stage, in this order, as one Arrow IPC stream in pieces of
    /// at most [`PIECE_BYTES`](tandem_ipc::PIECE_BYTES). What was spilled is compressed in any case.
    pub fn read_ipc(
        &self,
        keys: Vec<OutputKey>,
        outputs: Range<usize>,
        compression: BodyCompression,
    ) -> Result<IpcReader, StoreError> {
        let found = keys.into_iter().map(|key| self.find(key, &outputs)).collect::<Result<Vec<_>, _>>()?;
        if let Some((first, others)) = found.split_first()
            && let Some(other) = others.iter().find(|other| other.schema() != first.schema())
        {
            let reason = format!("it differs from that of {}", first.key());
            return Err(StoreError::Schema { key: other.key(), reason });
        }
        Ok(IpcReader::new(found, outputs, compression))
    }

    /// Forgets one finished output; open readers end with an error.
    pub fn drop_output(&self, key: OutputKey) {
        let dropped = self.table().take(&key);
        if let Some(output) = dropped {
            output.discard();
        }
    }

    /// Forgets all output of a stage, finished or not; open readers end with an error.
    pub fn drop_stage(&self, job: JobId, stage: StageId) {
        self.remove(job, Some(stage));
    }

    /// Forgets all output of a job, finished or not; open readers end with an error.
    pub fn drop_job(&self, job: JobId) {
        self.remove(job, None);
    }

    /// The finished outputs, in the order of their keys.
    pub fn held(&self) -> Vec<OutputKey> {
        self.table().keys()
    }

    /// What is held now.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            memory_bytes: self.budget.in_memory(),
            spilled_bytes: self.budget.spilled(),
            outputs: self.table().len() as u64,
        }
    }

    /// Charges `bytes`, spilling the largest outputs until they fit. When all that is left in memory is too little to be worth
    /// spilling, the charge goes over the limit; by how much is bounded by what a few writers hold.
    pub(crate) async fn reserve(&self, bytes: u64) -> Result<Charge, StoreError> {
        if let Some(charge) = self.budget.try_charge(bytes) {
            return Ok(charge);
        }
        let _turn = self.spills.acquire().await.map_err(|_| StoreError::ShuttingDown)?;
        loop {
            let spill_ended = self.spill_ended.notified();
            if let Some(charge) = self.budget.try_charge(bytes) {
                return Ok(charge);
            }
            let victim = self.table().victim(self.min_spill_bytes());
            match victim {
                Victim::Output(claim) => self.spill(claim).await?,
                Victim::Wait => spill_ended.await,
                Victim::None => return Ok(self.budget.force_charge(bytes)),
            }
        }
    }

    pub(crate) fn publish(&self, writer: WriterId, key: OutputKey) -> Result<(), StoreError> {
        let (published, replaced) = self.table().publish(writer);
        if let Some(replaced) = replaced {
            replaced.discard();
        }
        if published { Ok(()) } else { Err(StoreError::NotFound { key }) }
    }

    pub(crate) fn abandon(&self, writer: WriterId) {
        let abandoned = self.table().abandon(writer);
        if let Some(output) = abandoned {
            output.discard();
        }
    }

    /// Runs to its end even when the caller gives up waiting.
    async fn spill(&self, claim: SpillClaim) -> Result<(), StoreError> {
        let ended = NotifyOnDrop(Arc::clone(&self.spill_ended));
        let spill = move || {
            // Dropped in reverse order: whoever is told finds the claim free.
            let _ended = ended;
            let claim = claim;
            claim.spill()
        };
        tokio::task::spawn_blocking(spill).await.map_err(|_| StoreError::ShuttingDown)?
    }

    fn remove(&self, job: JobId, stage: Option<StageId>) {
        let removed = self.table().remove(job, stage);
        removed.iter().for_each(|output| output.discard());
    }

    fn find(&self, key: OutputKey, partitions: &Range<usize>) -> Result<Arc<TaskOutput>, StoreError> {
        let output = self.table().get(&key).cloned().ok_or(StoreError::NotFound { key })?;
        if partitions.end > output.partitions() {
            return Err(StoreError::NoSuchOutput { key, output: partitions.end, outputs: output.partitions() });
        }
        Ok(output)
    }

    fn min_spill_bytes(&self) -> u64 {
        MIN_SPILL_BYTES.min(self.config.memory_limit_bytes / MIN_SPILL_SHARE).max(1)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells all who wait that a spill ended, however it did.
struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}
