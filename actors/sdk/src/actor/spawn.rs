//! An actor that is about to be started.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tandem_actor_protocol::ActorId;
use tandem_actor_protocol::call::{ActorOptions, ActorSpec, Arg};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::BundleId;

use super::handle::{ActorHandle, ActorRef, find};
use crate::context::Context;
use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::task::{Arguments, IntoArg};
use crate::value::{Data, Kept};

/// An actor with all it needs to start: what `spawn` and `get_or_create` give. Awaited, it is a handle of an actor that has
/// started, or why it could not; [`Self::start`] does not wait.
pub struct Spawn<'a, H> {
    ctx: &'a Context,
    arguments: Arguments<'a>,
    pub(super) options: ActorOptions,
    pub(super) bundle: Option<BundleId>,
    /// The one of that name will do.
    or_find: bool,
    handle: PhantomData<fn() -> H>,
}

impl<'a, H: ActorHandle> Spawn<'a, H> {
    #[doc(hidden)]
    pub fn new(ctx: &'a Context, count: usize) -> Self {
        let arguments = Arguments::new(ctx.process(), count);
        let options = ActorOptions::default();
        Self { ctx, arguments, options, bundle: None, or_find: false, handle: PhantomData }
    }

    #[doc(hidden)]
    #[must_use]
    pub fn arg<T: Data>(mut self, argument: impl IntoArg<T>) -> Self {
        self.arguments.push(argument);
        self
    }

    #[doc(hidden)]
    #[must_use]
    pub fn or_find(self, name: &str) -> Self {
        Self { or_find: true, ..self.named(name) }
    }

    /// Whether one of its name will do.
    pub(super) fn finds(&self) -> bool {
        self.or_find
    }

    /// So many of the same, each with a name of its own if this one has one.
    pub(super) fn repeat(self, count: usize) -> Vec<Self> {
        let Self { ctx, arguments, options, bundle, or_find, handle } = self;
        let numbered = |(number, arguments)| {
            let mut options = options.clone();
            if !options.name.is_empty() {
                options.name = format!("{}-{number}", options.name);
            }
            Self { ctx, arguments, options, bundle, or_find, handle }
        };
        arguments.repeat(count).into_iter().enumerate().map(numbered).collect()
    }

    /// Starts it. Calls wait until it is there, and fail if it cannot start.
    pub fn start(self) -> H {
        let Self { ctx, arguments, options, bundle, .. } = self;
        H::of(match arguments.end(H::CLASS) {
            Ok((args, kept)) => start(ctx, H::CLASS, args, kept, options, bundle),
            Err(failure) => never_started(failure),
        })
    }
}

fn start(
    ctx: &Context,
    class: &str,
    args: Vec<Arg>,
    kept: Kept,
    options: ActorOptions,
    bundle: Option<BundleId>,
) -> ActorRef {
    let process = ctx.process();
    let object = process.new_ids(1);
    let created = process.objects().insert(process, object);
    let (actor, class) = (ActorId(object.0), class.to_owned());
    let actor = ActorSpec { actor, class, args, parent: ctx.parent(), options };
    process.send(match bundle {
        Some(bundle) => ToNode::SpawnIn { actor, bundle },
        None => ToNode::Spawn(actor),
    });
    drop(kept);
    ActorRef::new(ObjectRef::new(created))
}

fn never_started(failure: Failure) -> ActorRef {
    ActorRef::new(ObjectRef::new(Arc::new(Handle::failed(failure))))
}

/// Waits until it has started.
impl<'a, H: ActorHandle + Send + Sync + 'a> IntoFuture for Spawn<'a, H> {
    type Output = Result<H, Failure>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        async move {
            let (ctx, or_find) = (self.ctx, self.or_find);
            let (name, namespace) = (self.options.name.clone(), self.options.namespace.clone());
            if or_find && let Some(found) = find(ctx, &namespace, &name).await? {
                return Ok(found);
            }
            let handle = self.start();
            let started = handle.started();
            match started.await {
                Ok(()) => Ok(handle),
                // Another one was faster.
                Err(failure) if or_find && failure.kind == FailureKind::NameTaken => {
                    find(ctx, &namespace, &name).await?.ok_or(failure)
                }
                Err(failure) => Err(failure),
            }
        }
        .boxed()
    }
}
