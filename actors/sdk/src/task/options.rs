//! How a task is run, as its builder and its attribute say.

use std::time::Duration;

use tandem_actor_protocol::call::{RetryOn, TaskOptions};

use super::TaskCall;
use crate::placement::Bundle;
use crate::resources::Resources;

/// Which errors of a function are worth another attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// None: only losses of processes and workers are. What holds unless something else is said.
    OnLoss,
    /// All of them.
    OnAnyError,
    /// Those whose text contains one of these.
    OnErrorsWith(Vec<String>),
}

impl<A, R> TaskCall<'_, A, R> {
    /// Under which name people see it; else that of the function.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|options| options.name = name.into())
    }

    /// How often it is run again after its process or worker was lost, it took too long or too much memory; 3 unless said.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.with(|options| options.retries = retries)
    }

    /// Which errors of its own are worth one of these attempts too.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        self.with(|options| {
            options.retry_on = match retry {
                Retry::OnLoss => RetryOn::Never,
                Retry::OnAnyError => RetryOn::Any,
                Retry::OnErrorsWith(texts) => RetryOn::Containing(texts),
            }
        })
    }

    /// How long one attempt may take; for ever unless said.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        self.with(|options| options.timeout_ms = timeout_ms)
    }

    /// What it takes of its worker, all of it: one processor unless said.
    #[must_use]
    pub fn resources(self, resources: Resources) -> Self {
        self.with(|options| resources.apply(&mut options.shape))
    }

    /// A label that its worker must have.
    #[must_use]
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|options| drop(options.shape.labels.insert(key.into(), value.into())))
    }

    /// In a bundle of a placement group, on what that has reserved.
    #[must_use]
    pub fn in_bundle(mut self, bundle: Bundle) -> Self {
        self.bundle = Some(bundle.0);
        self
    }

    /// Rather on a worker that runs few of its kind than on this one.
    #[must_use]
    pub fn spread(self) -> Self {
        self.with(|options| options.spread = true)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|options| drop(options.environment.insert(name.into(), value.into())))
    }

    fn with(mut self, set: impl FnOnce(&mut TaskOptions)) -> Self {
        set(self.options.get_or_insert_default());
        self
    }
}
