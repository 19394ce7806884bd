//! Writes one task output: gathers small batches, keeps them in memory, and has the store spill when memory is short.
//! Invariant: a writer that is dropped unfinished leaves nothing behind.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use tandem_ipc::compact;

use crate::budget::Charge;
use crate::error::StoreError;
use crate::gather::{Gather, GatherSize};
use crate::output::TaskOutput;
use crate::store::ShuffleStore;
use crate::table::WriterId;

/// Memory for gathering is charged in steps of this, so that small pushes need not go to the pool.
const GATHER_STEP_BYTES: u64 = 256 << 10;
/// What a batch and one of its columns take besides their buffers, roughly.
const BATCH_OVERHEAD_BYTES: usize = 128;
const COLUMN_OVERHEAD_BYTES: usize = 128;

/// What a finished task output holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutputSummary {
    /// Bytes of each output partition, as they are in memory.
    pub bytes_per_output: Vec<u64>,
    /// Rows of all output partitions.
    pub rows: u64,
    /// Bytes of all output partitions, as they are in memory.
    pub bytes: u64,
    /// Bytes written to the spill file while the output was made.
    pub spilled_bytes: u64,
}

/// Writes the output of one task attempt. Nothing of it is visible before [`OutputWriter::finish`].
#[derive(Debug)]
pub struct OutputWriter {
    store: Arc<ShuffleStore>,
    id: WriterId,
    output: Arc<TaskOutput>,
    size: GatherSize,
    gathers: Vec<Option<Gather>>,
    gathered_bytes: u64,
    gather_charge: Charge,
    rows: u64,
    bytes_per_output: Vec<u64>,
}

impl OutputWriter {
    pub(crate) fn new(
        store: Arc<ShuffleStore>,
        id: WriterId,
        output: Arc<TaskOutput>,
        size: GatherSize,
        gather_charge: Charge,
    ) -> Self {
        let partitions = output.partitions();
        Self {
            store,
            id,
            output,
            size,
            gathers: std::iter::repeat_with(|| None).take(partitions).collect(),
            gathered_bytes: 0,
            gather_charge,
            rows: 0,
            bytes_per_output: vec![0; partitions],
        }
    }

    /// Adds a batch to an output partition. Waits while memory is short and other output is spilled.
    pub async fn push(&mut self, output: usize, batch: RecordBatch) -> Result<(), StoreError> {
        let key = self.output.key();
        let outputs = self.gathers.len();
        if output >= outputs {
            return Err(StoreError::NoSuchOutput { key, output, outputs });
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        let batch = self.conform(batch)?;
        let mut ready = Vec::new();
        self.gather(output, |gather| gather.push(batch, &mut ready))?;
        self.keep_all(output, ready).await?;
        self.charge_gathered().await
    }

    /// Makes the output visible to readers.
    pub async fn finish(mut self) -> Result<OutputSummary, StoreError> {
        for output in 0..self.gathers.len() {
            if self.gathers[output].is_none() {
                continue;
            }
            let mut ready = Vec::new();
            self.gather(output, |gather| gather.finish(&mut ready))?;
            self.gathers[output] = None;
            self.keep_all(output, ready).await?;
        }
        self.gather_charge.shrink_to(0);
        let summary = OutputSummary {
            rows: self.rows,
            bytes: self.bytes_per_output.iter().sum(),
            bytes_per_output: std::mem::take(&mut self.bytes_per_output),
            spilled_bytes: self.output.spilled(),
        };
        self.store.publish(self.id, self.output.key())?;
        Ok(summary)
    }

    /// The batch with the schema of the output: plans sometimes name columns differently in their batches.
    fn conform(&self, batch: RecordBatch) -> Result<RecordBatch, StoreError> {
        let schema = self.output.schema();
        if Arc::ptr_eq(schema, batch.schema_ref()) {
            return Ok(batch);
        }
        let rows = batch.num_rows();
        let (_, columns, _) = batch.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(SchemaRef::clone(schema), columns, &options)
            .map_err(|error| StoreError::Schema { key: self.output.key(), reason: error.to_string() })
    }

    /// Lets the gatherer of one output partition work and counts what it holds then.
    fn gather(
        &mut self,
        output: usize,
        work: impl FnOnce(&mut Gather) -> Result<(), ArrowError>,
    ) -> Result<(), StoreError> {
        let gather = self.gathers[output].get_or_insert_with(|| Gather::new(self.output.schema(), self.size));
        let before = gather.size() as u64;
        let worked = work(gather);
        self.gathered_bytes = (self.gathered_bytes + gather.size() as u64).saturating_sub(before);
        worked.map_err(|source| StoreError::Arrow { key: self.output.key(), source })
    }

    async fn keep_all(&mut self, output: usize, batches: Vec<RecordBatch>) -> Result<(), StoreError> {
        for batch in batches {
            let key = self.output.key();
            let batch = compact(batch).map_err(|source| StoreError::Arrow { key, source })?;
            let bytes = held_bytes(&batch);
            let charge = self.store.reserve(bytes).await?;
            self.output.keep(output, batch, charge)?;
            self.bytes_per_output[output] += bytes;
        }
        Ok(())
    }

    async fn charge_gathered(&mut self) -> Result<(), StoreError> {
        let wanted = self.gathered_bytes.next_multiple_of(GATHER_STEP_BYTES);
        let charged = self.gather_charge.bytes();
        if wanted > charged {
            self.gather_charge.add(self.store.reserve(wanted - charged).await?);
        } else {
            self.gather_charge.shrink_to(wanted);
        }
        Ok(())
    }
}

impl Drop for OutputWriter {
    fn drop(&mut self) {
        self.store.abandon(self.id);
    }
}

/// Memory that keeping `batch` takes.
fn held_bytes(batch: &RecordBatch) -> u64 {
    let overhead = BATCH_OVERHEAD_BYTES + batch.num_columns() * COLUMN_OVERHEAD_BYTES;
    (get_record_batch_memory_size(batch) + overhead) as u64
}

/// `schema` with all columns nullable: plans sometimes promise more than their batches keep, which would then fail only
/// where a batch is decoded.
pub(crate) fn relax(schema: &Schema) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
