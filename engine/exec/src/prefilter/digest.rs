//! Sums up the keys of one side of a join.
//!
//! ```text
//!  partition p of the input ─► hashes of its keys ─► a row for each partition that they belong to: its number and a key set
//! ```
//! A row without a number says that there were too many keys to tell: nothing can be dropped by them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use arrow::array::{BinaryArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{StreamExt, stream};

use super::key_set::key_set;
use super::keys::{Keys, display, hash_keys};
use crate::plan::{Plan, only, partitions, visit_each};

/// Keys of all partitions together, beyond which a digest would be too large to be read by every task.
const MAX_KEYS: usize = 8 << 20;

/// What a digest looks like to who reads it.
pub(super) static DIGEST_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let partition = Field::new("partition", DataType::UInt32, true);
    Arc::new(Schema::new(vec![partition, Field::new("keys", DataType::Binary, false)]))
});

/// Sums up the keys of its input, which is partitioned by them.
#[derive(Debug)]
pub(crate) struct KeyDigestExec {
    input: Plan,
    keys: Keys,
    /// Partitions of both sides of the join.
    modulus: u32,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl KeyDigestExec {
    /// A digest of `keys`, over the schema of `input`, which in the whole stage has `modulus` partitions.
    pub(crate) fn new(input: Plan, keys: Keys, modulus: u32) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&DIGEST_SCHEMA)),
            Partitioning::UnknownPartitioning(partitions(&input)),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { input, keys, modulus, properties, metrics }
    }

    /// What is summed up.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Partitions of both sides of the join.
    pub(crate) fn modulus(&self) -> u32 {
        self.modulus
    }
}

/// Keys that were seen, as hashes, by the partition that rows with them are in.
struct Seen {
    modulus: u64,
    most: usize,
    count: usize,
    hashes: BTreeMap<u32, Vec<u64>>,
    reservation: MemoryReservation,
}

impl Seen {
    /// Adds keys; false when there are too many different ones, or no memory for them.
    fn add(&mut self, hashes: &[u64]) -> bool {
        for &hash in hashes {
            self.hashes.entry((hash % self.modulus) as u32).or_default().push(hash);
        }
        self.count += hashes.len();
        let fits = self.count <= self.most || {
            self.deduplicate();
            // Else the next few would have all of them sorted again.
            self.count <= self.most / 2
        };
        fits && self.reservation.try_resize(self.count * size_of::<u64>()).is_ok()
    }

    fn deduplicate(&mut self) {
        self.count = 0;
        for hashes in self.hashes.values_mut() {
            hashes.sort_unstable();
            hashes.dedup();
            self.count += hashes.len();
        }
    }

    fn digest(&self) -> Result<RecordBatch> {
        let sets = self.hashes.values().map(|hashes| key_set(hashes));
        let (numbers, sets) = (self.hashes.keys().copied(), BinaryArray::from_iter_values(sets));
        batch(UInt32Array::from_iter_values(numbers), sets)
    }
}

/// The digest of keys that are too many.
fn too_many() -> Result<RecordBatch> {
    batch(UInt32Array::new_null(1), BinaryArray::from_iter_values([b""]))
}

fn batch(partitions: UInt32Array, sets: BinaryArray) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(Arc::clone(&DIGEST_SCHEMA), vec![Arc::new(partitions), Arc::new(sets)])?)
}

impl DisplayAs for KeyDigestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigestExec: keys={}", display(&self.keys))
    }
}

impl ExecutionPlan for KeyDigestExec {
    fn name(&self) -> &str {
        "KeyDigestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit_each(&self.keys, visit)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        Ok(Arc::new(Self::new(only(&children)?, self.keys.clone(), self.modulus)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut seen = Seen {
            modulus: self.modulus.into(),
            most: MAX_KEYS / self.modulus as usize,
            count: 0,
            hashes: BTreeMap::new(),
            reservation: MemoryConsumer::new("key digest").register(context.memory_pool()),
        };
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let mut batches = self.input.execute(partition, context)?;
        let keys = self.keys.clone();
        let digest = async move {
            let mut hashes = Vec::new();
            while let Some(batch) = batches.next().await {
                let timer = baseline.elapsed_compute().timer();
                hash_keys(&keys, &batch?, &mut hashes)?;
                if !seen.add(&hashes) {
                    return too_many();
                }
                timer.done();
            }
            let timer = baseline.elapsed_compute().timer();
            let digest = seen.digest()?;
            timer.done();
            baseline.record_output(digest.num_rows());
            Ok(digest)
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&DIGEST_SCHEMA), stream::once(digest))))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
