//! What must hold of the decoders of this crate whatever bytes they meet. Property tests run these, and by hand the
//! targets in `engine/fuzz`.

use std::sync::{Arc, LazyLock};

use datafusion::execution::TaskContext;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::displayable;
use datafusion::prelude::SessionContext;
use prost::Message;
use tandem_proto::v1;

use crate::codec::{StageOutput, decode_stage, encode_stage};
pub use crate::source::fuzz::{csv, json, schema};
use crate::task::LoadedStage;

static CONTEXT: LazyLock<Arc<TaskContext>> = LazyLock::new(|| SessionContext::new().task_ctx());

/// Decodes `bytes` as a stage plan. One that is accepted can be shown and sent on.
pub fn stage_plan(bytes: &[u8]) {
    let Ok(stage) = decode_stage(bytes, &CONTEXT) else { return };
    // Showing it visits every operator and expression.
    drop(displayable(stage.plan.as_ref()).indent(true).to_string());
    let sink = match &stage.output {
        StageOutput::Sink(sink) => Some(sink),
        StageOutput::Whole | StageOutput::Hash { .. } | StageOutput::Spread { .. } => None,
    };
    drop(encode_stage(&stage.plan, sink));
}

/// Decodes `bytes` as what a worker is told about a stage.
pub fn stage_definition(bytes: &[u8]) {
    if let Ok(definition) = v1::StageDefinition::decode(bytes) {
        drop(LoadedStage::new(definition, &Arc::new(RuntimeEnv::default())));
    }
}
