//! Placement groups as they are printed.

use std::collections::BTreeMap;

use serde::Serialize;
use tandem_proto::JobId;
use tandem_proto::v1::{self, PlacementGroupState, PlacementStrategy};

use super::records::Record;

/// Amounts on the wire are thousandths.
const MILLI: f64 = 1_000.0;

/// A placement group.
#[derive(Debug, Serialize)]
pub(crate) struct GroupView {
    id: String,
    job: String,
    name: String,
    strategy: &'static str,
    state: &'static str,
    pending_reason: String,
    pending_text: String,
    bundles: Vec<BundleView>,
}

#[derive(Debug, Serialize)]
struct BundleView {
    worker: String,
    resources: BTreeMap<String, f64>,
    memory_bytes: u64,
    labels: BTreeMap<String, String>,
    used: BTreeMap<String, f64>,
}

impl GroupView {
    /// Whether `text` is its name or its id.
    pub(crate) fn is_called(&self, text: &str) -> bool {
        self.id == text || (!self.name.is_empty() && self.name == text)
    }
}

impl From<v1::PlacementGroupStatus> for GroupView {
    fn from(group: v1::PlacementGroupStatus) -> Self {
        let strategy = match group.strategy() {
            PlacementStrategy::Pack => "PACK",
            PlacementStrategy::Spread => "SPREAD",
            PlacementStrategy::StrictPack => "STRICT_PACK",
            PlacementStrategy::StrictSpread => "STRICT_SPREAD",
            PlacementStrategy::Unspecified => "UNKNOWN",
        };
        let state = match group.state() {
            PlacementGroupState::Pending => "PENDING",
            PlacementGroupState::Reserved => "RESERVED",
            PlacementGroupState::Broken => "BROKEN",
            PlacementGroupState::Failed => "FAILED",
            PlacementGroupState::Unspecified => "UNKNOWN",
        };
        let digits: String = group.group.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            id: format!("p{digits}"),
            job: JobId(group.job).to_string(),
            strategy,
            state,
            name: group.name,
            pending_reason: group.pending_reason,
            pending_text: group.pending_text,
            bundles: group.bundles.into_iter().map(BundleView::from).collect(),
        }
    }
}

impl From<v1::BundleStatus> for BundleView {
    fn from(bundle: v1::BundleStatus) -> Self {
        let shape = bundle.shape.unwrap_or_default();
        let resources = shape.resources.unwrap_or_default();
        Self {
            worker: bundle.worker_name,
            memory_bytes: resources.memory_bytes,
            resources: amounts(resources),
            labels: shape.labels.into_iter().collect(),
            used: amounts(bundle.used.unwrap_or_default()),
        }
    }
}

impl Record for GroupView {
    const COLUMNS: &'static [&'static str] = &["id", "job", "name", "strategy", "state", "bundles", "about"];

    fn cells(&self) -> Vec<String> {
        let bundles: Vec<String> = self.bundles.iter().map(BundleView::short).collect();
        vec![
            self.id.clone(),
            self.job.clone(),
            self.name.clone(),
            self.strategy.to_owned(),
            self.state.to_owned(),
            bundles.join(", "),
            self.pending_text.clone(),
        ]
    }
}

impl BundleView {
    /// `cpus=2 on worker-1`.
    fn short(&self) -> String {
        let amounts: Vec<String> = self.resources.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        let place = if self.worker.is_empty() { "nowhere".to_owned() } else { format!("on {}", self.worker) };
        format!("{} {place}", amounts.join(" ")).trim_start().to_owned()
    }
}

fn amounts(resources: v1::Resources) -> BTreeMap<String, f64> {
    resources.milli.into_iter().map(|(name, milli)| (name, milli as f64 / MILLI)).collect()
}
