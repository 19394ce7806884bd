//! What a job did, for machines (`summary.json`) and for people (`report.md`), from its status and the shape of its
//! plan.
//!
//! Rows of a flow add up: what a source read was rejected by it, removed by a step on the way, or written by the sink.
//! Each number is counted where it happens (source, probe, sink), so the sum is a check and not a definition.

mod markdown;
mod summary;

use std::path::Path;

use object_store::ObjectStoreExt;
use tandem_exec::error::PlanError;
use tandem_exec::storage::{Storage, describe};
use tandem_proto::v1::JobStatus;

pub use summary::{
    CheckSummary, FlowSummary, Rows, SinkSummary, SourceSummary, StageSummary, StepSummary, Summary, Transfer,
    WarningSummary, WorkCount, WorkSummary,
};

use crate::planned::ReportSpec;

impl Summary {
    /// Sums up a job from its last status.
    pub fn new(status: &JobStatus, spec: &ReportSpec) -> Self {
        summary::summarize(status, spec)
    }

    /// `summary.json`.
    pub fn to_json(&self) -> String {
        // Plain structs with text keys always serialise.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// `report.md`.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// Writes `summary.json` and `report.md` into the absolute `folder`, each at once or not at all.
    ///
    /// # Errors
    /// What storage said, with the file's path.
    pub async fn write_to(&self, folder: &str, storage: &Storage) -> Result<(), PlanError> {
        for (path, text) in files_in(folder).into_iter().zip([self.to_json(), self.to_markdown()]) {
            let place = storage.resolve(&path, Path::new("/"))?;
            let written = storage.store(place.root())?.put(place.path(), text.into()).await;
            written.map_err(|error| PlanError::Storage(describe(&error, &path)))?;
        }
        Ok(())
    }
}

/// The files that [`Summary::write_to`] writes into `folder`: what is for machines, then what is for people.
pub(crate) fn files_in(folder: &str) -> [String; 2] {
    ["summary.json", "report.md"].map(|name| format!("{}/{name}", folder.trim_end_matches('/')))
}

#[cfg(test)]
mod tests;
