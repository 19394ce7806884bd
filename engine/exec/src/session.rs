//! Sessions: the settings a query is planned and run with, the same on coordinator and workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::optimizer::Analyzer;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::prelude::{SessionConfig, SessionContext};
use serde::{Deserialize, Serialize};

use crate::adaptive::AdaptiveOptions;
use crate::early_joins::JoinEarly;
use crate::error::PlanError;
use crate::first_rows::KeepFirstRows;
use crate::hidden;
use crate::nesting::RefuseDeepPlans;
use crate::plan::emits_build_rows;
use crate::probe;
use crate::sql_functions::add_functions;
use crate::windows::CarryOptions;

/// What differs from DataFusion's defaults, because partitions of one plan run in different processes.
const DISTRIBUTED_OPTIONS: [(&str, &str); 6] = [
    // A leaf opens exactly the partitions its task was given.
    ("datafusion.execution.enable_file_stream_work_stealing", "false"),
    // Spreading batches over threads is of no use where each partition is a task.
    ("datafusion.optimizer.enable_round_robin_repartition", "false"),
    // Interleaving needs to know that its inputs are partitioned alike, which a plan cut in two no longer does.
    ("datafusion.optimizer.prefer_existing_union", "true"),
    // Its operator has no form on the wire.
    ("datafusion.optimizer.enable_piecewise_merge_join", "false"),
    // A sort-merge join passes a LIMIT above it on to its inputs, and refuses rows without a partner where a column is never null.
    ("datafusion.optimizer.prefer_hash_join", "true"),
    // Names the part of a statement that an error is about.
    ("datafusion.sql_parser.collect_spans", "true"),
];

/// Turns on or off all filters that operators derive while they run, each of which has an option of its own too.
const DYNAMIC_FILTERS: &str = "datafusion.optimizer.enable_dynamic_filter_pushdown";

/// Everything besides the plan that decides what a query answers. Travels with each stage. The query's clock is in the
/// plan: planning makes `now()` a constant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuerySettings {
    /// DataFusion options by their own names, such as `datafusion.execution.batch_size`, and those of
    /// [`AdaptiveOptions`], such as `tandem.fuse_joins`.
    pub options: BTreeMap<String, String>,
}

impl QuerySettings {
    /// Settings for a query over at most `partitions` partitions, with the user's own `options` on top.
    pub fn new(partitions: usize, options: &BTreeMap<String, String>) -> Self {
        let partitions = ("datafusion.execution.target_partitions", partitions.max(1).to_string());
        let defaults = DISTRIBUTED_OPTIONS.into_iter().map(|(key, value)| (key, value.to_owned()));
        let mut merged: BTreeMap<String, String> =
            defaults.chain([partitions]).map(|(key, value)| (key.to_owned(), value)).collect();
        merged.extend(options.clone());
        Self { options: merged }
    }

    /// The DataFusion configuration these settings mean. What an option says of one thing holds whatever another says of
    /// all.
    ///
    /// # Errors
    /// An option that DataFusion does not know, a value it does not take, or one that stages cannot do with.
    pub fn config(&self) -> Result<SessionConfig, PlanError> {
        for (key, needed) in DISTRIBUTED_OPTIONS {
            if let Some(value) = self.options.get(key).filter(|value| *value != needed) {
                let message = format!("setting {key} = {value}: plans that run in stages need it to be {needed}");
                return Err(PlanError::Invalid { message, help: None });
            }
        }
        let adaptive = AdaptiveOptions::default();
        let mut config = SessionConfig::new().with_information_schema(true).with_option_extension(adaptive);
        let (general, single): (Vec<_>, Vec<_>) = self.options.iter().partition(|(key, _)| *key == DYNAMIC_FILTERS);
        for (key, value) in general.into_iter().chain(single) {
            set(&mut config, key, value)?;
        }
        Ok(config)
    }

    /// A session to plan with. Its plans can be cut into stages.
    pub fn planning_context(&self, runtime: Arc<RuntimeEnv>) -> Result<SessionContext, PlanError> {
        let mut rules = PhysicalOptimizer::new().rules;
        let join_selection = rules.iter().position(|rule| rule.name() == "join_selection").unwrap_or(0);
        rules.insert(join_selection + 1, Arc::new(PartitionBuildRowJoins));
        rules.insert(join_selection, Arc::new(JoinEarly));
        let in_order =
            rules.iter().position(|rule| rule.name() == "EnsureRequirements").map_or(0, |position| position + 1);
        rules.insert(in_order, Arc::new(KeepFirstRows));
        hidden::add_rule(&mut rules);
        let mut analyzer_rules = Analyzer::new().rules;
        analyzer_rules.insert(0, Arc::new(RefuseDeepPlans));
        analyzer_rules.push(Arc::new(CarryOptions));
        let mut config = self.config()?;
        // A filter that waits for other partitions would wait for other processes. Workers add those that stay within a task.
        set(&mut config, DYNAMIC_FILTERS, "false")?;
        let mut state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_analyzer_rules(analyzer_rules)
            .with_physical_optimizer_rules(rules)
            .with_query_planner(probe::query_planner())
            .build();
        add_functions(&mut state)?;
        Ok(SessionContext::new_with_state(state))
    }
}

fn set(config: &mut SessionConfig, key: &str, value: &str) -> Result<(), PlanError> {
    config.options_mut().set(key, value).map_err(|error| PlanError::Invalid {
        message: format!("setting {key} = {value}: {}", error.strip_backtrace()),
        help: Some("`SHOW ALL` lists the settings there are".to_owned()),
    })
}

/// Makes joins that put out build rows partitioned instead of broadcast: with the build side in every task, each task would put out
/// the unmatched rows on its own. A null-aware anti join must see everything and stays as it is, in one task.
#[derive(Debug)]
struct PartitionBuildRowJoins;

impl PhysicalOptimizerRule for PartitionBuildRowJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        if config.execution.target_partitions == 1 || !config.optimizer.repartition_joins {
            return Ok(plan);
        }
        plan.transform_up(|node| {
            let Some(join) = node.downcast_ref::<HashJoinExec>() else { return Ok(Transformed::no(node)) };
            let broadcast = *join.partition_mode() == PartitionMode::CollectLeft;
            if !broadcast || join.null_aware || !emits_build_rows(*join.join_type()) {
                return Ok(Transformed::no(node));
            }
            let partitioned = join.builder().with_partition_mode(PartitionMode::Partitioned).recompute_properties();
            Ok(Transformed::yes(partitioned.build_exec()?))
        })
        .data()
    }

    fn name(&self) -> &str {
        "partition_build_row_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stages_cannot_do_with_is_refused() {
        for (key, needed) in DISTRIBUTED_OPTIONS {
            let other = if needed == "true" { "false" } else { "true" };
            let with = |value: &str| QuerySettings::new(2, &BTreeMap::from([(key.to_owned(), value.to_owned())]));
            let error = with(other).config().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(&format!("to be {needed}")), "{error}");
            with(needed).config().unwrap();
        }
    }

    #[test]
    fn what_is_said_of_one_filter_holds_whatever_is_said_of_all() {
        let join = "datafusion.optimizer.enable_join_dynamic_filter_pushdown";
        for (all, one) in [(None, None), (None, Some(false)), (Some(true), Some(false)), (Some(false), Some(true))] {
            let said = |key: &str, value: Option<bool>| value.map(|value| (key.to_owned(), value.to_string()));
            let options = said(DYNAMIC_FILTERS, all).into_iter().chain(said(join, one)).collect();
            let settings = QuerySettings::new(2, &options);
            let optimizer = settings.config().unwrap().options().optimizer.clone();
            assert_eq!(optimizer.enable_topk_dynamic_filter_pushdown, all.unwrap_or(true), "{options:?}");
            assert_eq!(optimizer.enable_join_dynamic_filter_pushdown, one.or(all).unwrap_or(true), "{options:?}");
            let planner = settings.planning_context(Arc::default()).unwrap();
            let optimizer = planner.copied_config().options().optimizer.clone();
            assert!(!optimizer.enable_topk_dynamic_filter_pushdown && !optimizer.enable_join_dynamic_filter_pushdown);
        }
    }
}
