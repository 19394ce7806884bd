//! What calls and actors take of a worker.

use std::collections::BTreeMap;

use tandem_actor_protocol::resources::{CPUS, GPUS, Shape};

/// What a task or an actor takes of its worker, such as `cpus(0.5).custom("license", 1.0)`.
///
/// Amounts are thousandths at the finest. A task takes one processor unless it says otherwise, an actor nothing.
///
/// ```
/// use tandem::{Resources, cpus};
///
/// let small: Resources = cpus(0.5).memory_bytes(256 << 20);
/// let special = cpus(1.0).gpus(1.0).custom("license", 1.0);
/// assert_ne!(small, special);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    milli: BTreeMap<String, u64>,
    memory_bytes: u64,
}

/// So many processors.
pub fn cpus(count: f64) -> Resources {
    Resources::default().custom(CPUS, count)
}

/// So many GPUs.
pub fn gpus(count: f64) -> Resources {
    Resources::default().custom(GPUS, count)
}

impl Resources {
    /// So many processors.
    #[must_use]
    pub fn cpus(self, count: f64) -> Self {
        self.custom(CPUS, count)
    }

    /// So many GPUs.
    #[must_use]
    pub fn gpus(self, count: f64) -> Self {
        self.custom(GPUS, count)
    }

    /// Memory, in bytes. The process is ended when it takes more.
    #[must_use]
    pub fn memory_bytes(self, memory_bytes: u64) -> Self {
        Self { memory_bytes, ..self }
    }

    /// So much of something that workers were started with (`--resource name=4`). Nothing and less is no demand.
    #[must_use]
    pub fn custom(mut self, name: &str, amount: f64) -> Self {
        // Saturates, and is 0 for what is no number.
        match (amount * 1000.0).round() as u64 {
            0 => self.milli.remove(name),
            milli => self.milli.insert(name.to_owned(), milli),
        };
        self
    }

    pub(crate) fn apply(self, shape: &mut Shape) {
        shape.milli = self.milli;
        shape.memory_bytes = self.memory_bytes;
    }
}
