//! Finds the join of a stage that needs no exchange of its probe side if the build side is small, and makes that plan.
//!
//! ```text
//!   planned                                          fused
//!   stage 4  Exchange by hash                        (not run)
//!            └─ Scan lineitem
//!   stage 5  Aggregate, partial                      stage 5  Aggregate, partial
//!            └─ Join (partitioned)                            └─ Join (build side in every task)
//!               ├─ Read hash, stage 3                            ├─ Read all, stage 3
//!               └─ Read hash, stage 4                            └─ Scan lineitem
//! ```
//!
//! Only where nothing above the join counts on its rows being partitioned: each row goes on alone, up to the end of the stage.

use std::sync::Arc;

use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::physical_expr::Partitioning;
use datafusion::physical_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::execution_plan::ChildrenPropertiesMode;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::repartition::RepartitionExec;
use tandem_proto::StageId;

use crate::divide::row_input;
use crate::plan::Plan;
use crate::shuffle::{ReadMode, ShuffleReadExec};

/// A join of two exchanged inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExchangedJoin {
    pub(crate) build: StageId,
    pub(crate) probe: StageId,
}

/// The join of stage plan `plan` that may be fused with what makes its probe side.
pub(crate) fn exchanged_join(plan: &Plan) -> Result<Option<ExchangedJoin>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && *join.partition_mode() == PartitionMode::Partitioned
    {
        let read = |side: &Plan| -> Option<StageId> {
            let read = side.downcast_ref::<ShuffleReadExec>()?;
            (read.mode() == ReadMode::Hash).then(|| read.stage())
        };
        let sides = read(join.left()).zip(read(join.right()));
        let by_probe_row = row_input(plan)?.is_some();
        return Ok(sides.filter(|_| by_probe_row).map(|(build, probe)| ExchangedJoin { build, probe }));
    }
    match way_down(plan)? {
        Some(input) => exchanged_join(plan.children()[input]),
        None => Ok(None),
    }
}

/// `plan` with `probe` in the place of the reader of the probe side, and all of the build side in every partition.
pub(crate) fn fuse(plan: &Plan, probe: &Plan) -> Result<Plan> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>()
        && *join.partition_mode() == PartitionMode::Partitioned
    {
        let build = join.left().downcast_ref::<ShuffleReadExec>().map(ShuffleReadExec::whole);
        let build = build.ok_or_else(|| internal_datafusion_err!("the build side is not an exchange"))?;
        let join = join.builder().with_partition_mode(PartitionMode::CollectLeft);
        let join = join.with_new_children(vec![Arc::new(build), Arc::clone(probe)])?;
        return join.recompute_properties().build_exec();
    }
    let input = way_down(plan)?.ok_or_else(|| internal_datafusion_err!("there is no exchanged join"))?;
    let mut children: Vec<Plan> = plan.children().into_iter().cloned().collect();
    children[input] = fuse(&children[input], probe)?;
    Arc::clone(plan).replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
}

/// The input of `plan` on the way from the top of a stage to its rows.
fn way_down(plan: &Plan) -> Result<Option<usize>> {
    match plan.downcast_ref::<RepartitionExec>() {
        Some(exchange) => Ok(matches!(exchange.partitioning(), Partitioning::Hash(..)).then_some(0)),
        None => row_input(plan),
    }
}
