//! Placement groups: bundles of resources that are reserved together or not at all, so that what belongs together runs together.

use serde::{Deserialize, Serialize};

use crate::id::PlacementGroupId;
use crate::resources::Shape;
#[cfg(feature = "rpc")]
use tandem_proto::v1;

/// A placement group that a process wants. Its object, held once, is ready when every bundle is reserved; the group is removed when
/// nobody holds that object any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementGroup {
    /// Which one.
    pub group: PlacementGroupId,
    /// For people; may be empty.
    pub name: String,
    /// Where its bundles go.
    pub strategy: Strategy,
    /// What each of them has; at least one.
    pub bundles: Vec<Shape>,
    /// It fails if it is not reserved after so many milliseconds; 0 is never.
    pub timeout_ms: u64,
}

/// Where the bundles of a placement group go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// On as few workers as possible.
    Pack,
    /// On as many workers as possible.
    Spread,
    /// All on one worker.
    StrictPack,
    /// Each on a worker of its own.
    StrictSpread,
}

/// One bundle of a placement group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BundleId {
    /// The group.
    pub group: PlacementGroupId,
    /// Which of its bundles, counted from 0.
    pub index: u32,
}

#[cfg(feature = "rpc")]
impl From<BundleId> for v1::Bundle {
    fn from(bundle: BundleId) -> Self {
        Self { group: bundle.group.0.to_be_bytes().to_vec(), index: bundle.index }
    }
}

/// The id of a placement group is not of 16 bytes.
#[cfg(feature = "rpc")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of a placement group is not of 16 bytes")]
pub struct MalformedGroup;

#[cfg(feature = "rpc")]
impl TryFrom<v1::Bundle> for BundleId {
    type Error = MalformedGroup;

    fn try_from(bundle: v1::Bundle) -> Result<Self, MalformedGroup> {
        let id = bundle.group.as_slice().try_into().map_err(|_| MalformedGroup)?;
        Ok(Self { group: PlacementGroupId(u128::from_be_bytes(id)), index: bundle.index })
    }
}

/// As its owner wants it; the job is added by who sends it.
#[cfg(feature = "rpc")]
impl From<PlacementGroup> for v1::PlacementGroup {
    fn from(wanted: PlacementGroup) -> Self {
        let strategy = match wanted.strategy {
            Strategy::Pack => v1::PlacementStrategy::Pack,
            Strategy::Spread => v1::PlacementStrategy::Spread,
            Strategy::StrictPack => v1::PlacementStrategy::StrictPack,
            Strategy::StrictSpread => v1::PlacementStrategy::StrictSpread,
        };
        Self {
            group: wanted.group.0.to_be_bytes().to_vec(),
            job: 0,
            name: wanted.name,
            strategy: strategy.into(),
            bundles: wanted.bundles.into_iter().map(Into::into).collect(),
            settled: false,
        }
    }
}
