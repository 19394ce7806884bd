//! What a step says about its function.

use serde::{Deserialize, Serialize};
use tandem_graph::StageNeeds;

/// Rows of one call, unless the step says otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 8192;

/// The function of one step, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// The step, for messages.
    pub step: String,
    /// The function's name.
    pub function: String,
    /// Where it comes from.
    pub origin: FunctionOrigin,
    /// Its arguments: the text of a JSON object.
    pub args: String,
    /// Rows of one call, at most; at least 1. Of no account when it is called for all rows at once.
    pub batch_rows: usize,
    /// It is called once, for all rows of the step's input.
    pub whole: bool,
    /// It gives the same rows for the same rows.
    pub deterministic: bool,
    /// What a task that calls it needs besides a slot, if anything.
    pub needs: Option<StageNeeds>,
}

impl FunctionSpec {
    /// Its arguments, if the step says any: a function that has none takes nothing but the rows.
    pub fn given_args(&self) -> Option<&str> {
        Some(self.args.as_str()).filter(|args| *args != "{}")
    }
}

/// Where a function comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FunctionOrigin {
    /// The `tandem` binary itself.
    BuiltIn,
    /// The job's package.
    Package,
}
