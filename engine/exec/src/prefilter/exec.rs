//! The operator that drops rows by a digest.
//!
//! ```text
//!  digest, whole ────────────┐
//!  partition p of the input ─┴─► partition p, without rows whose key is not in the digest
//! ```
//! When it turns out to drop little it stops looking: which rows without a partner pass does not matter.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::UInt32Type;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions};
use futures::{StreamExt, TryStreamExt, stream};

use super::key_set::KeySets;
use super::keys::{Keys, display, hash_keys};
use crate::plan::{Plan, visit_each};

/// So many rows tell whether dropping pays.
const SAMPLE_ROWS: usize = 100_000;
/// It does when no more than this part of them pass.
const PASSING_PERCENT: usize = 75;
/// The same for a digest of more than [`CACHED_BYTES`], in which a look takes several times as long.
const PASSING_PERCENT_UNCACHED: usize = 40;
/// About what one of several cores has of the caches.
const CACHED_BYTES: usize = 4 << 20;

/// Passes on the rows of its input whose keys a digest may have.
#[derive(Debug)]
pub(crate) struct PrefilterExec {
    digest: Plan,
    input: Plan,
    keys: Keys,
    modulus: u32,
    metrics: ExecutionPlanMetricsSet,
}

impl PrefilterExec {
    /// Of `input` the rows whose `keys` may be in `digest`, made with the same `modulus`.
    pub(crate) fn new(digest: Plan, input: Plan, keys: Keys, modulus: u32) -> Self {
        Self { digest, input, keys, modulus, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// Where the rows come from.
    pub(crate) fn input(&self) -> &Plan {
        &self.input
    }

    /// What is looked for in the digest.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Partitions of both sides of the join.
    pub(crate) fn modulus(&self) -> u32 {
        self.modulus
    }
}

/// What may pass.
enum Passing {
    All,
    Keys {
        sets: KeySets,
        /// Of all sets.
        memory: MemoryReservation,
    },
}

impl Passing {
    async fn read(mut digest: SendableRecordBatchStream, modulus: u32, memory: MemoryReservation) -> Result<Self> {
        let mut sets = KeySets::new(modulus as usize);
        while let Some(batch) = digest.next().await {
            let batch = batch?;
            let (partitions, bytes) = (batch.column(0), batch.column(1));
            let (partitions, bytes) = (partitions.as_primitive_opt::<UInt32Type>(), bytes.as_binary_opt::<i32>());
            let (partitions, bytes) = partitions.zip(bytes).ok_or_else(|| internal_datafusion_err!("not a digest"))?;
            if partitions.null_count() > 0 {
                return Ok(Self::All);
            }
            for (partition, bytes) in partitions.values().iter().zip(bytes.iter().flatten()) {
                if memory.try_resize(sets.bytes() + bytes.len()).is_err() {
                    return Ok(Self::All);
                }
                if !sets.add(*partition as usize, bytes) {
                    return internal_err!("not a set of keys");
                }
            }
        }
        Ok(Self::Keys { sets, memory })
    }
}

/// Goes through the rows of one partition.
struct Prefilter {
    passing: Passing,
    keys: Keys,
    hashes: Vec<u64>,
    seen: usize,
    passed: usize,
}

impl Prefilter {
    fn apply(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Passing::Keys { sets, memory } = &self.passing else { return Ok(batch) };
        hash_keys(&self.keys, &batch, &mut self.hashes)?;
        let pass = sets.may_contain(&self.hashes);
        let passing = pass.count_set_bits();
        self.seen += batch.num_rows();
        self.passed += passing;
        let all = passing == batch.num_rows();
        if !pays(self.seen, self.passed, memory.size()) {
            self.passing = Passing::All;
        }
        if all { Ok(batch) } else { Ok(filter_record_batch(&batch, &BooleanArray::new(pass, None))?) }
    }
}

/// Whether looking rows up in a digest of so many bytes is worth it, after so many of those seen have passed.
fn pays(seen: usize, passed: usize, digest_bytes: usize) -> bool {
    let percent = if digest_bytes > CACHED_BYTES { PASSING_PERCENT_UNCACHED } else { PASSING_PERCENT };
    seen < SAMPLE_ROWS || passed <= seen / 100 * percent
}

impl DisplayAs for PrefilterExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrefilterExec: keys={}", display(&self.keys))
    }
}

impl ExecutionPlan for PrefilterExec {
    fn name(&self) -> &str {
        "PrefilterExec"
    }

    /// Partitioning, order and equivalences are the input's: rows that pass stay what and where they are.
    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn children(&self) -> Vec<&Plan> {
        vec![&self.digest, &self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        visit_each(&self.keys, visit)
    }

    fn replace_children(self: Arc<Self>, children: Vec<Plan>, _: ReplaceChildrenOptions) -> Result<Plan> {
        let Ok([digest, input]) = <[Plan; 2]>::try_from(children) else {
            return internal_err!("a prefilter has a digest and an input");
        };
        Ok(Arc::new(Self::new(digest, input, self.keys.clone(), self.modulus)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Plan>) -> Result<Plan> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("prefilter").register(context.memory_pool());
        let digest = self.digest.execute(0, Arc::clone(&context))?;
        let input = self.input.execute(partition, context)?;
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let (keys, modulus) = (self.keys.clone(), self.modulus);
        let batches = async move {
            let passing = Passing::read(digest, modulus, memory).await?;
            let mut prefilter = Prefilter { passing, keys, hashes: Vec::new(), seen: 0, passed: 0 };
            Ok::<_, DataFusionError>(input.map(move |batch| {
                let timer = baseline.elapsed_compute().timer();
                let batch = prefilter.apply(batch?)?;
                timer.done();
                baseline.record_output(batch.num_rows());
                Ok(batch)
            }))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(batches).try_flatten())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_digest_must_drop_more_to_pay() {
        let half = |bytes| pays(2 * SAMPLE_ROWS, SAMPLE_ROWS, bytes);
        assert!(half(CACHED_BYTES));
        assert!(!half(CACHED_BYTES + 1));
        assert!(pays(2 * SAMPLE_ROWS, SAMPLE_ROWS / 2, CACHED_BYTES + 1), "most are dropped");
        assert!(!pays(2 * SAMPLE_ROWS, 2 * SAMPLE_ROWS, 0), "nothing is dropped");
        assert!(pays(SAMPLE_ROWS - 1, SAMPLE_ROWS - 1, CACHED_BYTES + 1), "too early to tell");
    }
}
