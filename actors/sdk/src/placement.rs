//! Placement groups: what they have is reserved together or not at all, and work is sent to their bundles.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tandem_actor_protocol::PlacementGroupId;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::{self, BundleId};
use tandem_actor_protocol::resources::Shape;

use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::resources::Resources;

pub use tandem_actor_protocol::placement::Strategy;

impl Context {
    /// A placement group: each bundle is so much of one worker, and the strategy says which may be on the same. Awaiting it gives the
    /// group once all of it is reserved.
    ///
    /// ```
    /// use tandem::prelude::*;
    ///
    /// struct Trainer;
    ///
    /// #[tandem::actor(gpus = 1)]
    /// impl Trainer {
    ///     fn new() -> Self {
    ///         Self
    ///     }
    ///
    ///     fn train(&mut self, part: Vec<f32>) -> f32 {
    ///         part.iter().sum()
    ///     }
    /// }
    ///
    /// #[tandem::task]
    /// fn load(shard: u32) -> Vec<f32> {
    ///     vec![0.5; shard as usize]
    /// }
    ///
    /// async fn run(ctx: &Context) -> Result<f32> {
    ///     let group = ctx.placement_group([cpus(1.0).gpus(1.0), cpus(2.0)], Strategy::Pack).await?;
    ///     let trainer = Trainer::spawn(ctx).in_bundle(group.bundle(0)).await?;
    ///     let part = load::with(ctx).in_bundle(group.bundle(1)).submit(7_u32);
    ///     let loss = trainer.train(&part).await?;
    ///     group.remove();
    ///     Ok(loss)
    /// }
    /// ```
    pub fn placement_group(
        &self,
        bundles: impl IntoIterator<Item = Resources>,
        strategy: Strategy,
    ) -> NewPlacementGroup<'_> {
        let bundles = bundles.into_iter().map(|resources| {
            let mut shape = Shape::nothing();
            resources.apply(&mut shape);
            shape
        });
        NewPlacementGroup { ctx: self, bundles: bundles.collect(), strategy, name: String::new(), timeout_ms: 0 }
    }
}

/// A placement group before it is awaited; see [`Context::placement_group`].
#[must_use = "a placement group is reserved when it is awaited or started"]
pub struct NewPlacementGroup<'a> {
    ctx: &'a Context,
    bundles: Vec<Shape>,
    strategy: Strategy,
    name: String,
    timeout_ms: u64,
}

impl NewPlacementGroup<'_> {
    /// Under which name people see it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// It fails if it is not reserved within this time, and says why. Otherwise it waits as long as the cluster could have room for
    /// it some day.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Does not wait until it is reserved: what is sent to its bundles waits.
    pub fn start(self) -> PlacementGroup {
        let Self { ctx, bundles, strategy, name, timeout_ms } = self;
        let process = ctx.process();
        let object = process.new_ids(1);
        let reserved = ObjectRef::new(process.objects().insert(process, object));
        let group = PlacementGroup { reserved, bundles: u32::try_from(bundles.len()).unwrap_or(u32::MAX) };
        let wanted = placement::PlacementGroup { group: group.id(), name, strategy, bundles, timeout_ms };
        process.send(ToNode::CreateGroup(wanted));
        group
    }
}

/// Waits until all of it is reserved.
impl<'a> IntoFuture for NewPlacementGroup<'a> {
    type Output = Result<PlacementGroup, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let group = self.start();
        Box::pin(async move {
            group.reserved().await?;
            Ok(group)
        })
    }
}

/// Resources that are reserved for tasks and actors of this job, in bundles.
///
/// It can be cloned and passed to tasks and actors. It is removed by [`Self::remove`], when nobody in the job has it any more, or
/// with the job. Whatever is in it then ends: tasks that wait or run in it fail, actors are gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlacementGroup {
    /// The object that is there once the group is.
    reserved: ObjectRef<()>,
    bundles: u32,
}

/// One bundle of a placement group; see [`PlacementGroup::bundle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bundle(pub(crate) BundleId);

impl PlacementGroup {
    /// The group's id, for logs and the command line.
    pub fn id(&self) -> PlacementGroupId {
        PlacementGroupId(self.reserved.id().0)
    }

    /// How many bundles it has.
    pub fn bundles(&self) -> usize {
        self.bundles as usize
    }

    /// One of its bundles, in the order in which they were given.
    ///
    /// # Panics
    /// When there is none of that number, counted from 0.
    pub fn bundle(&self, index: usize) -> Bundle {
        assert!(index < self.bundles(), "the group has {} bundles, and no bundle {index}", self.bundles);
        Bundle(BundleId { group: self.id(), index: index as u32 })
    }

    /// Has a value once all of it is reserved, or a failure if it cannot be.
    pub fn reserved(&self) -> ObjectRef<()> {
        self.reserved.clone()
    }

    /// Gives back what it has reserved, and ends what is in it.
    pub fn remove(&self) {
        if let Some(process) = self.reserved.handle().process() {
            process.send(ToNode::RemoveGroup(self.id()));
        }
    }
}
