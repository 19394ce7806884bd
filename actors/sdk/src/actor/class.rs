//! An actor's type as its process sees it.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use futures::future::{FutureExt, LocalBoxFuture};
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::Value;
use tokio::sync::RwLock;

use crate::context::Context;
use crate::executor::panic_message;
use crate::inputs::{CallOutcome, Inputs, Outputs};
use crate::value::Kept;

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
    start: fn(Inputs, Context, Option<Inputs>, bool) -> Starting,
}

/// Whether another call of an actor begins as soon as a certain one has ended.
pub(crate) type More = Rc<dyn Fn() -> bool>;

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

    /// Makes one, of a checkpoint if there is one. With `held`, what its calls return is held until a checkpoint covers it.
    pub(crate) fn start(&self, inputs: Inputs, ctx: Context, checkpoint: Option<Inputs>, held: bool) -> Starting {
        (self.start)(inputs, ctx, checkpoint, held)
    }
}

fn start<A: Actor>(inputs: Inputs, ctx: Context, checkpoint: Option<Inputs>, held: bool) -> Starting {
    let instance = move |actor| Hosted::instance(actor, held);
    if let (Some(restore), Some(checkpoint)) = (A::RESTORE, checkpoint) {
        return Starting::Plain(Box::new(move || restore(checkpoint).map(instance)));
    }
    match A::CREATE {
        Create::Plain(create) => Starting::Plain(Box::new(move || create(inputs, ctx).map(instance))),
        Create::Async(create) => {
            Starting::Async(create(inputs, ctx).map(move |created| created.map(instance)).boxed_local())
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
    fn call_plain(&self, method: &str, inputs: Inputs, ctx: Context, more: &More) -> CallOutcome;
    /// Calls a method as soon as the calls that are under way let it.
    fn call(
        self: Rc<Self>,
        method: String,
        inputs: Inputs,
        ctx: Context,
        more: More,
    ) -> LocalBoxFuture<'static, CallOutcome>;
    /// Whether what its calls return is held until a checkpoint covers it.
    fn is_held(&self) -> bool;
    /// Says behind the end of a call whether a checkpoint covers it, at once. False: its state must be looked at for that.
    fn tell(&self, ctx: &Context) -> bool;
    /// Looks at its state as soon as no call changes it, and says so.
    fn look_and_tell(self: Rc<Self>, ctx: Context) -> LocalBoxFuture<'static, ()>;
}

struct Hosted<A> {
    state: RwLock<A>,
    /// Calls since the last checkpoint that may have changed it.
    unsaved: Cell<u32>,
    /// What calls return is held until a checkpoint covers it.
    held: bool,
    /// What is to be said behind the end of the call that ends now.
    word: Cell<Option<Word>>,
}

/// What is said behind the end of a call whose result is held.
enum Word {
    /// The state covers it.
    State(Value, Kept),
    /// Nothing has changed since the last checkpoint.
    Unchanged,
    /// Another call is about to begin, and this is said behind that.
    Later,
    /// No checkpoint could be made.
    Failed(Failure),
}

impl<A: Actor> Hosted<A> {
    fn instance(actor: A, held: bool) -> Rc<dyn Instance> {
        let held = held && A::CHECKPOINT.is_some();
        Rc::new(Self { state: RwLock::new(actor), unsaved: Cell::new(0), held, word: Cell::default() })
    }

    /// A call begins, and has the actor so. One that yields items waits for whoever takes them, who may wait for what is held: that is
    /// covered first.
    fn begins(&self, actor: &A, ctx: &Context) {
        let yields = ctx.call().is_some_and(|call| call.yields.is_some());
        if self.held && yields && self.unsaved.get() > 0 {
            self.say(self.word(actor, ctx), ctx);
        }
    }

    /// A call ends that has left the actor so. If it is time for a checkpoint, that goes before the result; or behind it, if the result
    /// is held until then.
    fn ended(&self, actor: &A, changed: bool, ctx: &Context, more: &More, outcome: CallOutcome) -> CallOutcome {
        let Some(checkpoint) = A::CHECKPOINT else { return outcome };
        self.unsaved.set(self.unsaved.get() + u32::from(changed));
        let due = self.unsaved.get() >= A::CHECKPOINT_EVERY;
        if self.held {
            let waits = self.unsaved.get() > 0 && !due && more();
            self.word.set(Some(if waits { Word::Later } else { self.word(actor, ctx) }));
            return outcome;
        }
        let Some(id) = ctx.actor().filter(|_| due && changed) else { return outcome };
        let mut saved = checkpoint(actor, ctx)?;
        if let Some(state) = saved.values.pop() {
            ctx.process().send(ToNode::Checkpoint { actor: id, state });
            self.unsaved.set(0);
        }
        outcome
    }

    /// What covers all calls that have ended, with a checkpoint if one is needed.
    fn word(&self, actor: &A, ctx: &Context) -> Word {
        let Some(checkpoint) = A::CHECKPOINT.filter(|_| self.unsaved.get() > 0) else { return Word::Unchanged };
        let saved = catch_unwind(AssertUnwindSafe(|| checkpoint(actor, ctx)))
            .unwrap_or_else(|payload| Err(Failure::new(FailureKind::Panicked, "checkpoint", panic_message(&*payload))));
        match saved {
            Ok(Outputs { mut values, kept }) => match values.pop() {
                Some(state) => {
                    self.unsaved.set(0);
                    Word::State(state, kept)
                }
                None => Word::Failed(Failure::new(FailureKind::Mismatch, "checkpoint", "it returned nothing")),
            },
            Err(failure) => Word::Failed(failure),
        }
    }

    fn say(&self, word: Word, ctx: &Context) {
        let Some(actor) = ctx.actor() else { return };
        let post = |message| ctx.process().transport().post(message);
        match word {
            Word::State(state, kept) => {
                post(ToNode::Checkpoint { actor, state });
                drop(kept);
            }
            Word::Unchanged => post(ToNode::NoCheckpoint { actor, outcome: Ok(()) }),
            Word::Failed(failure) => post(ToNode::NoCheckpoint { actor, outcome: Err(failure) }),
            Word::Later => {}
        }
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

    fn call_plain(&self, method: &str, inputs: Inputs, ctx: Context, more: &More) -> CallOutcome {
        let busy =
            |_| Failure::new(FailureKind::Mismatch, "", "a call that may block came while others were under way");
        match A::method(method) {
            Some(Method::Plain(code)) => {
                let actor = self.state.try_read().map_err(busy)?;
                let outcome = code(&actor, inputs, ctx.clone());
                self.ended(&actor, false, &ctx, more, outcome)
            }
            Some(Method::PlainMut(code)) => {
                let mut actor = self.state.try_write().map_err(busy)?;
                let outcome = code(&mut actor, inputs, ctx.clone());
                self.ended(&actor, true, &ctx, more, outcome)
            }
            Some(Method::Async(_) | Method::AsyncMut(_)) | None => Err(no_method::<A>(method)),
        }
    }

    fn call(
        self: Rc<Self>,
        method: String,
        inputs: Inputs,
        ctx: Context,
        more: More,
    ) -> LocalBoxFuture<'static, CallOutcome> {
        let called = async move {
            if method == IS_THERE {
                let there = Outputs::one(&ctx, &());
                return match self.held {
                    true => self.ended(&*self.state.read().await, false, &ctx, &more, there),
                    false => there,
                };
            }
            match A::method(&method).ok_or_else(|| no_method::<A>(&method))? {
                Method::Plain(code) => {
                    let actor = self.state.read().await;
                    self.begins(&actor, &ctx);
                    let outcome = code(&actor, inputs, ctx.clone());
                    self.ended(&actor, false, &ctx, &more, outcome)
                }
                Method::Async(code) => {
                    let actor = self.state.read().await;
                    self.begins(&actor, &ctx);
                    let outcome = code(&actor, inputs, ctx.clone()).await;
                    self.ended(&actor, false, &ctx, &more, outcome)
                }
                Method::PlainMut(code) => {
                    let mut actor = self.state.write().await;
                    self.begins(&actor, &ctx);
                    let outcome = code(&mut actor, inputs, ctx.clone());
                    self.ended(&actor, true, &ctx, &more, outcome)
                }
                Method::AsyncMut(code) => {
                    let mut actor = self.state.write().await;
                    self.begins(&actor, &ctx);
                    let outcome = code(&mut actor, inputs, ctx.clone()).await;
                    self.ended(&actor, true, &ctx, &more, outcome)
                }
            }
        };
        called.boxed_local()
    }

    fn is_held(&self) -> bool {
        self.held
    }

    fn tell(&self, ctx: &Context) -> bool {
        if !self.is_held() {
            return true;
        }
        let word = self.word.take();
        let known = word.is_some();
        word.into_iter().for_each(|word| self.say(word, ctx));
        known
    }

    fn look_and_tell(self: Rc<Self>, ctx: Context) -> LocalBoxFuture<'static, ()> {
        let told = async move {
            // A call that has panicked or was cancelled may have changed it, too.
            self.unsaved.set(self.unsaved.get() + 1);
            let actor = self.state.read().await;
            self.say(self.word(&actor, &ctx), &ctx);
        };
        told.boxed_local()
    }
}

fn no_method<A: Actor>(method: &str) -> Failure {
    Failure::new(FailureKind::NotFound, method, format!("{} has no method `{method}`", A::CLASS))
}
