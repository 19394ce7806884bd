//! Sessions: the settings a query is planned and run with, the same on coordinator and workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::PlanError;

/// Everything besides the plan that decides what a query answers. Travels with each stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuerySettings {
    /// DataFusion options by their own names, such as `datafusion.execution.batch_size`.
    pub options: BTreeMap<String, String>,
    /// What `now()` is, in nanoseconds since the Unix epoch.
    pub query_time_ns: i64,
}

impl QuerySettings {
    /// The DataFusion configuration these settings mean, for planning and for running alike.
    pub fn config(&self) -> Result<SessionConfig, PlanError> {
        let mut config = SessionConfig::new();
        for (key, value) in &self.options {
            config.options_mut().set(key, value).map_err(PlanError::DataFusion)?;
        }
        Ok(config)
    }

    /// A session to plan with.
    pub fn planning_context(&self, runtime: Arc<RuntimeEnv>) -> Result<SessionContext, PlanError> {
        Ok(SessionContext::new_with_config_rt(self.config()?, runtime))
    }
}
