//! What a task or an actor needs of the worker it runs on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tandem_proto::resources::refuse_gpus;
pub use tandem_proto::resources::{CPUS, GPUS};
#[cfg(feature = "rpc")]
use tandem_proto::v1;

/// What one unit of work takes of a worker, and which workers will do. Work of one shape shares leases.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Thousandths of each resource by name; none is zero.
    pub milli: BTreeMap<String, u64>,
    /// Memory, in bytes; its processes are ended beyond it. Zero: what the worker gives to one slot.
    pub memory_bytes: u64,
    /// Labels that the worker must have.
    pub labels: BTreeMap<String, String>,
    /// Its leases are rather where few are than at their owner. Processes say it beside the shape.
    #[serde(skip)]
    pub spread: bool,
    /// A lease of it is at its owner or nowhere: for what goes on there. Only said between workers and coordinator.
    #[serde(skip)]
    pub here: bool,
}

impl Shape {
    /// One processor, on any worker: what tasks take by default.
    pub fn one_cpu() -> Self {
        Self {
            milli: BTreeMap::from([(CPUS.to_owned(), 1000)]),
            memory_bytes: 0,
            labels: BTreeMap::new(),
            spread: false,
            here: false,
        }
    }

    /// Nothing, on any worker: what actors take by default.
    pub fn nothing() -> Self {
        Self { milli: BTreeMap::new(), memory_bytes: 0, labels: BTreeMap::new(), spread: false, here: false }
    }

    /// Why no worker can have this, whatever it has.
    pub fn refuse(&self) -> Option<String> {
        self.milli.get(GPUS).and_then(|milli| refuse_gpus(*milli))
    }

    /// Itself, or with leases that are spread.
    pub(crate) fn spread_if(&self, spread: bool) -> Cow<'_, Self> {
        if spread { Cow::Owned(Self { spread, ..self.clone() }) } else { Cow::Borrowed(self) }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self::one_cpu()
    }
}

#[cfg(feature = "rpc")]
impl From<Shape> for v1::Shape {
    fn from(shape: Shape) -> Self {
        let Shape { milli, memory_bytes, labels, spread, here } = shape;
        let resources = v1::Resources { milli: milli.into_iter().collect(), memory_bytes };
        Self { resources: Some(resources), labels: labels.into_iter().collect(), spread, here }
    }
}

#[cfg(feature = "rpc")]
impl From<v1::Shape> for Shape {
    fn from(shape: v1::Shape) -> Self {
        let v1::Resources { milli, memory_bytes } = shape.resources.unwrap_or_default();
        let milli = milli.into_iter().filter(|(_, amount)| *amount > 0).collect();
        Self { milli, memory_bytes, labels: shape.labels.into_iter().collect(), spread: shape.spread, here: shape.here }
    }
}
