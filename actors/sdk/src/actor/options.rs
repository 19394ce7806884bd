//! How an actor lives, as its builder says.

use tandem_actor_protocol::call::ActorOptions;

use super::spawn::Spawn;
use crate::placement::Bundle;
use crate::resources::Resources;

impl<H> Spawn<'_, H> {
    /// Under which name it is found by others.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        self.with(|options| options.name = name.into())
    }

    /// Where its name holds: the job's own namespace unless said.
    #[must_use]
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.with(|options| options.namespace = namespace.into())
    }

    /// It outlives its job.
    #[must_use]
    pub fn detached(self) -> Self {
        self.with(|options| options.detached = true)
    }

    /// How often it is started again after its process or worker was lost; never unless said.
    #[must_use]
    pub fn max_restarts(self, restarts: u32) -> Self {
        self.with(|options| options.max_restarts = restarts)
    }

    /// Calls that were under way when it was lost are made again, so they may happen twice; if it makes checkpoints, each happens once.
    /// Otherwise they fail.
    #[must_use]
    pub fn retry_calls(self) -> Self {
        self.with(|options| options.retry_calls = true)
    }

    /// Calls that may wait for it; more fail. 100,000 unless said.
    #[must_use]
    pub fn max_pending_calls(self, calls: u32) -> Self {
        self.with(|options| options.max_pending_calls = calls)
    }

    /// Calls it works on at once, one unless said, beside those of its concurrency groups. More than one wait together, on one thread,
    /// and end in any order; those of methods with `&mut self` are still alone.
    #[must_use]
    pub fn concurrency(self, calls: u32) -> Self {
        self.with(|options| options.concurrency = calls.max(1))
    }

    /// It shares a process with others of its kind.
    #[must_use]
    pub fn light(self) -> Self {
        self.with(|options| options.light = true)
    }

    /// What it takes of its worker, all of it, as long as it lives: nothing unless said.
    #[must_use]
    pub fn resources(self, resources: Resources) -> Self {
        self.with(|options| resources.apply(&mut options.shape))
    }

    /// A label that its worker must have.
    #[must_use]
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|options| drop(options.shape.labels.insert(key.into(), value.into())))
    }

    /// In a bundle of a placement group, on what that has reserved. It ends with the group.
    #[must_use]
    pub fn in_bundle(mut self, bundle: Bundle) -> Self {
        self.bundle = Some(bundle.0);
        self
    }

    /// Rather on this worker than on one that runs few of its kind.
    #[must_use]
    pub fn nearby(self) -> Self {
        self.with(|options| options.spread = false)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|options| drop(options.environment.insert(name.into(), value.into())))
    }

    fn with(mut self, set: impl FnOnce(&mut ActorOptions)) -> Self {
        set(&mut self.options);
        self
    }
}
