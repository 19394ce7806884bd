//! What is kept of one task output, batch by batch, in memory or in its spill file.
//! Owned by the store's table; its writer adds, readers look, a spiller moves batches from memory to the file.
//! Invariants: within an output partition the batches in the file come before those in memory; the charge is the
//! sum of the bytes in memory; nothing is held after a drop.
//!
//!   Held ─► Dropped

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use tandem_ipc::{BodyCompression, Encoder};

use crate::budget::{Budget, Charge};
use crate::error::StoreError;
use crate::key::OutputKey;
use crate::spill_dir::SpillDir;
use crate::spill_file::{FileRange, SpillFile};

/// The output of one task attempt.
#[derive(Debug)]
pub(crate) struct TaskOutput {
    key: OutputKey,
    schema: SchemaRef,
    partitions: usize,
    budget: Arc<Budget>,
    dir: Arc<SpillDir>,
    /// What `contents` is charged, to be read without its lock.
    in_memory: AtomicU64,
    spilling: AtomicBool,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
enum Contents {
    Held(Held),
    Dropped,
}

#[derive(Debug)]
struct Held {
    /// By output partition, in the order they were written.
    slots: Vec<Vec<Slot>>,
    charge: Charge,
    file: Option<Arc<SpillFile>>,
}

#[derive(Debug)]
struct Slot {
    bytes: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Memory(RecordBatch),
    File(FileRange),
}

/// Names one batch of an output: its output partition and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotId {
    partition: u32,
    index: u32,
}

/// A batch as a reader finds it.
#[derive(Debug, Clone)]
pub(crate) enum Located {
    /// In memory, taking this many bytes.
    Memory(RecordBatch, u64),
    /// Encoded in a file.
    File(Arc<SpillFile>, FileRange),
}

impl TaskOutput {
    /// An empty output.
    pub(crate) fn new(
        key: OutputKey,
        schema: SchemaRef,
        partitions: usize,
        budget: &Arc<Budget>,
        dir: &Arc<SpillDir>,
    ) -> Self {
        let slots = std::iter::repeat_with(Vec::new).take(partitions).collect();
        let held = Held { slots, charge: Charge::empty(budget), file: None };
        Self {
            key,
            schema,
            partitions,
            budget: Arc::clone(budget),
            dir: Arc::clone(dir),
            in_memory: AtomicU64::new(0),
            spilling: AtomicBool::new(false),
            contents: Mutex::new(Contents::Held(held)),
        }
    }

    pub(crate) fn key(&self) -> OutputKey {
        self.key
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// How many output partitions it has.
    pub(crate) fn partitions(&self) -> usize {
        self.partitions
    }

    /// Bytes that spilling would free.
    pub(crate) fn in_memory(&self) -> u64 {
        self.in_memory.load(Ordering::Relaxed)
    }

    pub(crate) fn is_spilling(&self) -> bool {
        self.spilling.load(Ordering::Relaxed)
    }

    /// Bytes in its spill file.
    pub(crate) fn spilled(&self) -> u64 {
        match &*self.lock() {
            Contents::Held(Held { file: Some(file), .. }) => file.len(),
            Contents::Held(_) | Contents::Dropped => 0,
        }
    }

    /// Adds a batch, for which `charge` was taken.
    pub(crate) fn keep(&self, partition: usize, batch: RecordBatch, charge: Charge) -> Result<(), StoreError> {
        let mut contents = self.lock();
        let held = contents.held(self.key)?;
        held.slots[partition].push(Slot { bytes: charge.bytes(), place: Place::Memory(batch) });
        held.charge.add(charge);
        self.in_memory.store(held.charge.bytes(), Ordering::Relaxed);
        Ok(())
    }

    /// The batches of some output partitions in the order to read them: what is in the file first, by its place there.
    pub(crate) fn plan(&self, partitions: Range<usize>) -> Result<Vec<SlotId>, StoreError> {
        let mut contents = self.lock();
        let held = contents.held(self.key)?;
        let mut in_file = Vec::new();
        let mut in_memory = Vec::new();
        for partition in partitions {
            for (index, slot) in held.slots[partition].iter().enumerate() {
                let id = SlotId { partition: partition as u32, index: index as u32 };
                match slot.place {
                    Place::File(range) => in_file.push((range.offset, id)),
                    Place::Memory(_) => in_memory.push(id),
                }
            }
        }
        drop(contents);
        in_file.sort_unstable_by_key(|(offset, _)| *offset);
        Ok(in_file.into_iter().map(|(_, id)| id).chain(in_memory).collect())
    }

    /// Where a batch is now.
    pub(crate) fn locate(&self, id: SlotId) -> Result<Located, StoreError> {
        let mut contents = self.lock();
        let held = contents.held(self.key)?;
        let slot = &held.slots[id.partition as usize][id.index as usize];
        match (&slot.place, &held.file) {
            (Place::Memory(batch), _) => Ok(Located::Memory(batch.clone(), slot.bytes)),
            (Place::File(range), Some(file)) => Ok(Located::File(Arc::clone(file), *range)),
            (Place::File(_), None) => Err(StoreError::NotFound { key: self.key }),
        }
    }

    /// Lets go of everything, also while readers are open: they end with an error.
    pub(crate) fn discard(&self) {
        let contents = std::mem::replace(&mut *self.lock(), Contents::Dropped);
        self.in_memory.store(0, Ordering::Relaxed);
        drop(contents);
    }

    /// Takes the right to spill this output; none while another has it.
    pub(crate) fn claim_spill(self: &Arc<Self>) -> Option<SpillClaim> {
        let claimed = self.spilling.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        claimed.ok().map(|_| SpillClaim { output: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn held(&mut self, key: OutputKey) -> Result<&mut Held, StoreError> {
        match self {
            Self::Held(held) => Ok(held),
            Self::Dropped => Err(StoreError::NotFound { key }),
        }
    }
}

/// The right to move one output from memory to its file.
#[derive(Debug)]
pub(crate) struct SpillClaim {
    output: Arc<TaskOutput>,
}

impl SpillClaim {
    /// Writes all batches that are in memory now, ordered by output partition, and lets go of them. Blocks. When writing
    /// fails, everything is as before.
    pub(crate) fn spill(&self) -> Result<(), StoreError> {
        let Some((file, batches)) = self.start() else { return Ok(()) };
        let mut encoder = Encoder::new(&self.output.schema, BodyCompression::Lz4);
        let mut append = file.append()?;
        let mut written = Vec::with_capacity(batches.len());
        for (id, batch) in batches {
            let key = self.output.key;
            let encode = |out: &mut Vec<u8>| {
                encoder.encode_compact(&batch, out).map_err(|source| StoreError::Arrow { key, source })
            };
            written.push((id, append.add(encode)?));
        }
        append.commit()?;
        self.finish(file, written);
        Ok(())
    }

    /// The file to append to and what to write; none when there is nothing.
    fn start(&self) -> Option<(Arc<SpillFile>, Vec<(SlotId, RecordBatch)>)> {
        let mut contents = self.output.lock();
        let held = contents.held(self.output.key).ok()?;
        let mut batches = Vec::new();
        for (partition, slots) in held.slots.iter().enumerate() {
            for (index, slot) in slots.iter().enumerate() {
                if let Place::Memory(batch) = &slot.place {
                    let id = SlotId { partition: partition as u32, index: index as u32 };
                    batches.push((id, batch.clone()));
                }
            }
        }
        let file = held.file.clone().unwrap_or_else(|| SpillFile::new(&self.output.dir, &self.output.budget));
        (!batches.is_empty()).then_some((file, batches))
    }

    /// Puts the file's ranges in the place of the batches. An output that was dropped meanwhile takes its file along.
    fn finish(&self, file: Arc<SpillFile>, written: Vec<(SlotId, FileRange)>) {
        let mut freed = Vec::with_capacity(written.len());
        let mut contents = self.output.lock();
        let Ok(held) = contents.held(self.output.key) else { return };
        let mut left = held.charge.bytes();
        for (id, range) in written {
            let slot = &mut held.slots[id.partition as usize][id.index as usize];
            freed.push(std::mem::replace(&mut slot.place, Place::File(range)));
            left -= slot.bytes;
        }
        held.file = Some(file);
        held.charge.shrink_to(left);
        self.output.in_memory.store(left, Ordering::Relaxed);
        drop(contents);
        drop(freed);
    }
}

impl Drop for SpillClaim {
    fn drop(&mut self) {
        self.output.spilling.store(false, Ordering::Release);
    }
}
