//! An actor's type as its process sees it.

use std::cell::Cell;
use std::rc::Rc;

use futures::future::{FutureExt, LocalBoxFuture};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tokio::sync::RwLock;

use crate::context::Context;
use crate::inputs::{CallOutcome, Inputs, Outputs};

/// What `#[tandem::actor]` makes of a type.
pub trait Actor: Sized + 'static {
    /// The type's name with its modules.
    const CLASS: &'static str;
    /// Its constructor.
    const CREATE: Create<Self>;
    /// Makes one of a checkpoint.
    const RESTORE: Option<fn(Inputs) -> Result<Self, Failure>>;
    /// Makes a checkpoint, one value.
    const CHECKPOINT: Option<fn(&Self, &Context) -> CallOutcome>;
    /// After so many calls that may have changed it a checkpoint is made.
    const CHECKPOINT_EVERY: u32;
    /// How many calls of each of its concurrency groups are worked on at once.
    const GROUPS: &'static [u32] = &[];

    /// The method of that name.
    fn method(name: &str) -> Option<Method<Self>>;

    /// Which of the groups a method is in, if it is in one.
    fn group(_method: &str) -> Option<usize> {
        None
    }
}

/// A constructor.
pub enum Create<A> {
    /// It may block its thread.
    Plain(fn(Inputs, Context) -> Result<A, Failure>),
    /// It waits.
    Async(fn(Inputs, Context) -> LocalBoxFuture<'static, Result<A, Failure>>),
}

/// A method.
pub enum Method<A> {
    /// It reads the actor and may block its thread.
    Plain(fn(&A, Inputs, Context) -> CallOutcome),
    /// It changes the actor and may block its thread.
    PlainMut(fn(&mut A, Inputs, Context) -> CallOutcome),
    /// It reads the actor and waits.
    Async(for<'a> fn(&'a A, Inputs, Context) -> LocalBoxFuture<'a, CallOutcome>),
    /// It changes the actor and waits.
    AsyncMut(for<'a> fn(&'a mut A, Inputs, Context) -> LocalBoxFuture<'a, CallOutcome>),
}

/// What every actor answers with nothing. No method has this name.
pub(super) const IS_THERE: &str = "tandem::is_there";

/// An actor's type without the type.
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// It has concurrency groups.
    pub(crate) has_groups: bool,
    start: fn(Inputs, Context, Option<Inputs>) -> Starting,
}

/// An actor that is being made.
pub(crate) enum Starting {
    /// By code that may block its thread.
    Plain(Box<dyn FnOnce() -> Result<Rc<dyn Instance>, Failure>>),
    /// By code that waits.
    Async(LocalBoxFuture<'static, Result<Rc<dyn Instance>, Failure>>),
}

impl Class {
    /// That of `A`.
    pub const fn of<A: Actor>() -> Self {
        Self { name: A::CLASS, has_groups: !A::GROUPS.is_empty(), start: start::<A> }
    }

    /// Makes one, of a checkpoint if there is one.
    pub(crate) fn start(&self, inputs: Inputs, ctx: Context, checkpoint: Option<Inputs>) -> Starting {
        (self.start)(inputs, ctx, checkpoint)
    }
}

fn start<A: Actor>(inputs: Inputs, ctx: Context, checkpoint: Option<Inputs>) -> Starting {
    if let (Some(restore), Some(checkpoint)) = (A::RESTORE, checkpoint) {
        return Starting::Plain(Box::new(move || restore(checkpoint).map(Hosted::instance)));
    }
    match A::CREATE {
        Create::Plain(create) => Starting::Plain(Box::new(move || create(inputs, ctx).map(Hosted::instance))),
        Create::Async(create) => {
            Starting::Async(create(inputs, ctx).map(|created| created.map(Hosted::instance)).boxed_local())
        }
    }
}

/// An actor without its type.
pub(crate) trait Instance {
    /// Whether a method may block its thread; none if there is no such method.
    fn is_plain(&self, method: &str) -> Option<bool>;
    /// How many calls of each of its concurrency groups are worked on at once.
    fn groups(&self) -> &'static [u32];
    /// Which of these a method is in, if it is in one.
    fn group(&self, method: &str) -> Option<usize>;
    /// Calls a method that may block this thread, while no other call is under way.
    fn call_plain(&self, method: &str, inputs: Inputs, ctx: Context) -> CallOutcome;
    /// Calls a method as soon as the calls that are under way let it.
    fn call(self: Rc<Self>, method: String, inputs: Inputs, ctx: Context) -> LocalBoxFuture<'static, CallOutcome>;
}

struct Hosted<A> {
    state: RwLock<A>,
    /// Calls since the last checkpoint.
    unsaved: Cell<u32>,
}

impl<A: Actor> Hosted<A> {
    fn instance(actor: A) -> Rc<dyn Instance> {
        Rc::new(Self { state: RwLock::new(actor), unsaved: Cell::new(0) })
    }

    /// Sends a checkpoint if it is time for one, before the result of the call that changed the actor.
    fn save(&self, actor: &A, ctx: &Context, outcome: CallOutcome) -> CallOutcome {
        let (Some(checkpoint), Some(id)) = (A::CHECKPOINT, ctx.actor()) else { return outcome };
        self.unsaved.set(self.unsaved.get() + 1);
        if self.unsaved.get() < A::CHECKPOINT_EVERY {
            return outcome;
        }
        let mut saved = checkpoint(actor, ctx)?;
        if let Some(state) = saved.values.pop() {
            ctx.process().send(ToNode::Checkpoint { actor: id, state });
            self.unsaved.set(0);
        }
        outcome
    }
}

impl<A: Actor> Instance for Hosted<A> {
    fn is_plain(&self, method: &str) -> Option<bool> {
        if method == IS_THERE {
            return Some(false);
        }
        A::method(method).map(|method| matches!(method, Method::Plain(_) | Method::PlainMut(_)))
    }

    fn groups(&self) -> &'static [u32] {
        A::GROUPS
    }

    fn group(&self, method: &str) -> Option<usize> {
        A::group(method)
    }

    fn call_plain(&self, method: &str, inputs: Inputs, ctx: Context) -> CallOutcome {
        let busy =
            |_| Failure::new(FailureKind::Mismatch, "", "a call that may block came while others were under way");
        match A::method(method) {
            Some(Method::Plain(code)) => code(&*self.state.try_read().map_err(busy)?, inputs, ctx),
            Some(Method::PlainMut(code)) => {
                let mut actor = self.state.try_write().map_err(busy)?;
                let outcome = code(&mut actor, inputs, ctx.clone());
                self.save(&actor, &ctx, outcome)
            }
            Some(Method::Async(_) | Method::AsyncMut(_)) | None => Err(no_method::<A>(method)),
        }
    }

    fn call(self: Rc<Self>, method: String, inputs: Inputs, ctx: Context) -> LocalBoxFuture<'static, CallOutcome> {
        let called = async move {
            if method == IS_THERE {
                return Outputs::one(&ctx, &());
            }
            match A::method(&method).ok_or_else(|| no_method::<A>(&method))? {
                Method::Plain(code) => code(&*self.state.read().await, inputs, ctx),
                Method::Async(code) => code(&*self.state.read().await, inputs, ctx).await,
                Method::PlainMut(code) => {
                    let mut actor = self.state.write().await;
                    let outcome = code(&mut actor, inputs, ctx.clone());
                    self.save(&actor, &ctx, outcome)
                }
                Method::AsyncMut(code) => {
                    let mut actor = self.state.write().await;
                    let outcome = code(&mut actor, inputs, ctx.clone()).await;
                    self.save(&actor, &ctx, outcome)
                }
            }
        };
        called.boxed_local()
    }
}

fn no_method<A: Actor>(method: &str) -> Failure {
    Failure::new(FailureKind::NotFound, method, format!("{} has no method `{method}`", A::CLASS))
}
