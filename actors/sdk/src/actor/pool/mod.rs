//! A fixed number of actors of one class that share the calls made to them.

mod calls;
mod members;
mod new;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_actor_protocol::failure::{Failure, FailureKind};

pub(crate) use self::calls::Calls;
use self::calls::Outcome;
pub use self::calls::{CompletedCalls, PoolCalls};
use self::members::{Event, Members, Room};
pub(crate) use self::new::EndsPool;
pub use self::new::NewPool;
use super::class::IS_THERE;
use super::handle::ActorHandle;
use crate::getting::FirstEnded;
use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::task::One;
use crate::value::Data;

/// A fixed number of actors of one class that share the calls made to them.
///
/// Each call goes to the actor with the fewest calls under way. None has more than a limit of them
/// ([`NewPool::calls_per_actor`]): beyond that, whoever makes calls waits. An actor that is lost and not started again gets no more
/// calls, and the others do its share. The calls that it had fail; with [`retry_calls`](crate::Spawn::retry_calls) those made by
/// [`Self::call`] and [`Self::map`] are made again at others, at most twice. When all actors are gone, calls fail.
///
/// It can be cloned; the clones share the actors and their limits. The actors end with their job, by [`Self::end`], or by
/// [`Self::kill`].
///
/// ```
/// use tandem::prelude::*;
///
/// struct Scorer {
///     weight: f64,
/// }
///
/// #[tandem::actor(max_restarts = 2, retry_calls)]
/// impl Scorer {
///     fn new(weight: f64) -> Self {
///         Self { weight }
///     }
///
///     fn score(&self, text: String) -> f64 {
///         self.weight * text.len() as f64
///     }
/// }
///
/// async fn scores(ctx: &Context, texts: Vec<String>) -> Result<Vec<f64>> {
///     let scorers = Scorer::spawn(ctx, 0.5).resources(cpus(1.0)).pool(4).await?;
///     let first = scorers.call(|scorer| scorer.score("a text")).await?;
///     let scores = scorers.map(texts, |scorer, text| scorer.score(text)).collect().await?;
///     scorers.end();
///     Ok([vec![first], scores].concat())
/// }
/// ```
pub struct ActorPool<H>(Arc<Shared<H>>);

struct Shared<H> {
    actors: Vec<H>,
    /// The same, for calls that also say when they have ended.
    telling: Vec<H>,
    /// Calls that were lost with their actor are made again.
    retries: bool,
    state: Mutex<State>,
}

struct State {
    members: Members,
    /// By numbers that grow.
    under_way: BTreeMap<u64, UnderWay>,
    number: u64,
    /// What has been decided to send and is not under way yet.
    unsent: usize,
    /// What was under way and has ended, ever.
    ended: u64,
}

/// Something that an actor was sent and has not answered.
struct UnderWay {
    member: usize,
    /// There once it has ended.
    end: Arc<Handle>,
    what: What,
}

enum What {
    /// A call, and who is told how it ended.
    Call(Option<Outcome>),
    /// Whether it is there.
    Question,
}

/// By what it is known that a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Its value, which is brought here.
    Value,
    /// An object of its own: the value stays where it is.
    End,
}

impl<H: ActorHandle> ActorPool<H> {
    /// A pool of actors that were started one by one, such as each in another bundle of a placement group. Calls that are lost with
    /// their actor are not made again.
    pub fn of(actors: impl IntoIterator<Item = H>) -> Self {
        Self::new(actors.into_iter().collect(), DEFAULT_CALLS, false)
    }

    fn new(actors: Vec<H>, calls_per_actor: u32, retries: bool) -> Self {
        let telling = actors.iter().map(|actor| H::of(actor.actor().telling_ends())).collect();
        let members = Members::new(actors.len(), calls_per_actor);
        let state = Mutex::new(State { members, under_way: BTreeMap::new(), number: 0, unsent: 0, ended: 0 });
        Self(Arc::new(Shared { actors, telling, retries, state }))
    }

    /// Its actors, those that are gone too.
    pub fn actors(&self) -> &[H] {
        &self.0.actors
    }

    /// Sets how many calls may be under way at each actor, from now on; see [`NewPool::calls_per_actor`].
    #[must_use]
    pub fn calls_per_actor(self, calls: u32) -> Self {
        self.lock().members.set_at_once(calls);
        self
    }

    /// Waits for room and makes a call, whose result it does not wait for. The call is not made again if its actor is lost.
    ///
    /// # Errors
    /// When all actors are gone.
    pub async fn submit<T>(&self, call: impl FnOnce(&H) -> ObjectRef<T>) -> Result<ObjectRef<T>, Failure> {
        loop {
            let before = self.ended();
            match self.take_room() {
                Room::At(member) => return Ok(self.call_at(member, By::End, None, call)),
                Room::Later => self.ended_since(before).await,
                Room::Never(failure) => return Err(failure),
            }
        }
    }

    /// Waits for room, makes a call and waits for its result. Dropped, it cancels the call.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn call<T: Data>(&self, call: impl FnMut(&H) -> ObjectRef<T>) -> Result<T, Failure> {
        let mut call = call;
        let mut calls = self.map([()], |actor, ()| call(actor));
        calls.next().await.unwrap_or_else(|| Err(Failure::new(FailureKind::ActorGone, "", "no call was made")))
    }

    /// Makes a call for each item, as there is room and results are asked for. Items that are iterated over lazily are asked for one
    /// by one.
    ///
    /// ```
    /// use tandem::prelude::*;
    /// # struct Scorer;
    /// # #[tandem::actor]
    /// # impl Scorer {
    /// #     fn new() -> Self {
    /// #         Self
    /// #     }
    /// #     fn score(&self, text: String) -> f64 {
    /// #         text.len() as f64
    /// #     }
    /// # }
    ///
    /// async fn best(scorers: &ActorPool<ScorerHandle>, texts: Vec<String>) -> Result<usize> {
    ///     let (mut best, mut most) = (0, f64::MIN);
    ///     let mut scores = scorers.map(texts, ScorerHandle::score).as_completed();
    ///     while let Some((index, score)) = scores.next().await {
    ///         let score = score?;
    ///         if score > most {
    ///             (best, most) = (index, score);
    ///         }
    ///     }
    ///     Ok(best)
    /// }
    /// ```
    pub fn map<I, F, T>(&self, items: I, call: F) -> PoolCalls<H, I::IntoIter, F, T>
    where
        I: IntoIterator<Item: Clone>,
        F: FnMut(&H, I::Item) -> ObjectRef<T>,
        T: Data,
    {
        PoolCalls::new(Calls::new(self.clone(), items.into_iter(), call, By::Value))
    }

    /// Ends the actors after the calls that they have got. Later ones fail.
    pub fn end(&self) {
        self.actors().iter().for_each(ActorHandle::end);
    }

    /// Ends the actors and their processes at once; see [`ActorHandle::kill`].
    pub fn kill(&self) {
        self.actors().iter().for_each(ActorHandle::kill);
    }

    fn capacity(&self) -> usize {
        self.lock().members.capacity()
    }

    /// Whether a call that failed so is made again at another actor.
    fn retries(&self, failure: &Failure) -> bool {
        self.0.retries && (is_loss(failure) || is_of_actor::<H>(failure))
    }

    fn take_room(&self) -> Room {
        let mut state = self.lock();
        let room = state.members.take_room();
        state.unsent += usize::from(matches!(room, Room::At(_)));
        room
    }

    /// Makes a call where there is room for it. Who has the outcome is told how it ended.
    fn call_at<T>(
        &self,
        member: usize,
        by: By,
        outcome: Option<&Outcome>,
        call: impl FnOnce(&H) -> ObjectRef<T>,
    ) -> ObjectRef<T> {
        let actors = if by == By::End { &self.0.telling } else { &self.0.actors };
        let mut sends = Sends { state: &self.0.state, member, sent: None };
        let object = call(&actors[member]);
        let end = object.handle().take_end().unwrap_or_else(|| Arc::clone(object.handle()));
        sends.sent = Some(UnderWay { member, end, what: What::Call(outcome.cloned()) });
        object
    }

    /// How much has ended.
    fn ended(&self) -> u64 {
        self.lock().ended
    }

    /// Waits until more has ended than `before`, whoever has sent it.
    async fn ended_since(&self, before: u64) {
        let Some((numbers, ends)) = self.under_way_since(before) else { return tokio::task::yield_now().await };
        for (index, outcome) in FirstEnded::new(ends).await {
            self.has_ended(numbers[index], outcome);
        }
    }

    /// All that is under way; none if more has ended than `before`, or another thread is about to send something.
    fn under_way_since(&self, before: u64) -> Option<(Vec<u64>, Vec<Arc<Handle>>)> {
        let state = self.lock();
        let all = || state.under_way.iter().map(|(number, sent)| (*number, Arc::clone(&sent.end))).unzip();
        (state.ended == before && state.unsent == 0).then(all)
    }

    /// Notes how something ended, unless that was done.
    fn has_ended(&self, number: u64, outcome: Result<(), Failure>) {
        let mut state = self.lock();
        let Some(UnderWay { member, what, .. }) = state.under_way.remove(&number) else { return };
        state.ended += 1;
        let event = match (&what, &outcome) {
            (What::Question, Ok(())) => Some(Event::Answered),
            (_, Err(failure)) if is_of_actor::<H>(failure) => Some(Event::Gone(failure.clone())),
            (What::Question, Err(failure)) => Some(Event::Silent(failure.clone())),
            (What::Call(_), Err(failure)) if is_loss(failure) => Some(Event::Lost),
            (What::Call(_), _) => None,
        };
        if let What::Call(outcome_of_call) = what {
            state.members.give_back(member);
            if let Some(told) = outcome_of_call {
                // It is told once.
                let _ = told.set(outcome);
            }
        }
        if event.is_some_and(|event| state.members.apply(member, event)) {
            state.unsent += 1;
            drop(state);
            self.ask(member);
        }
    }

    /// Asks an actor whether it is there. One that is started again answers then.
    fn ask(&self, member: usize) {
        let there: ObjectRef<()> = self.actors()[member].actor().call::<One<()>>(IS_THERE, 0).send();
        let end = Arc::clone(there.handle());
        self.lock().sent(UnderWay { member, end, what: What::Question });
    }
}

impl<H> ActorPool<H> {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    fn sent(&mut self, under_way: UnderWay) {
        self.unsent -= 1;
        self.under_way.insert(self.number, under_way);
        self.number += 1;
    }
}

/// A call for which there is room, while the code that makes it runs.
struct Sends<'a> {
    state: &'a Mutex<State>,
    member: usize,
    /// None if that panics.
    sent: Option<UnderWay>,
}

impl Drop for Sends<'_> {
    fn drop(&mut self) {
        let mut state = lock(self.state);
        match self.sent.take() {
            Some(under_way) => state.sent(under_way),
            None => {
                state.unsent -= 1;
                state.members.give_back(self.member);
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H> Clone for ActorPool<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: std::fmt::Debug> std::fmt::Debug for ActorPool<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ActorPool").field(&self.0.actors).finish()
    }
}

/// Calls under way at an actor that works on one at a time, unless said: the next one is there when it ends.
const DEFAULT_CALLS: u32 = 2;

/// Whether a call failed for what became of its actor, of which the failure is, and not of its method.
fn is_of_actor<H: ActorHandle>(failure: &Failure) -> bool {
    failure.task == H::CLASS
}

/// Whether a call failed because its actor was lost.
fn is_loss(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::ActorGone | FailureKind::ProcessLost | FailureKind::WorkerLost)
}
