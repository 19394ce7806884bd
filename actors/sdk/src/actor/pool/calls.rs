//! Many calls of a pool, and their results: in the order of what they are made for, or as they come.

use std::collections::{BTreeMap, VecDeque};
use std::iter::Fuse;
use std::sync::{Arc, OnceLock};

use tandem_actor_protocol::failure::Failure;

use super::members::Room;
use super::{ActorPool, By};
use crate::actor::ActorHandle;
use crate::object_ref::ObjectRef;
use crate::value::Data;

/// How often a call is made at another actor after the one that had it was lost: a call that ends its process ends no more of them.
const MAX_MOVES: u32 = 2;

/// How a call ended that was made for a pool, once it has.
pub(super) type Outcome = Arc<OnceLock<Result<(), Failure>>>;

/// Makes calls of a pool as there is room. Dropped, it cancels those that are under way.
pub(crate) struct Calls<H, I: Iterator, F, T> {
    pool: ActorPool<H>,
    items: Fuse<I>,
    /// Of the next item.
    index: usize,
    call: F,
    by: By,
    /// What calls are to be made for, those that are made again first.
    due: VecDeque<Due<I::Item>>,
    under_way: Vec<UnderWay<I::Item, T>>,
}

struct Due<Item> {
    index: usize,
    item: Item,
    moves: u32,
}

struct UnderWay<Item, T> {
    due: Due<Item>,
    object: ObjectRef<T>,
    outcome: Outcome,
}

/// One that has ended: for which item, and the object that has its value.
pub(crate) type EndedCall<T> = (usize, Result<ObjectRef<T>, Failure>);

impl<H, I, F, T> Calls<H, I, F, T>
where
    H: ActorHandle,
    I: Iterator<Item: Clone>,
    F: FnMut(&H, I::Item) -> ObjectRef<T>,
{
    pub(crate) fn new(pool: ActorPool<H>, items: I, call: F, by: By) -> Self {
        Self { pool, items: items.fuse(), index: 0, call, by, due: VecDeque::new(), under_way: Vec::new() }
    }

    /// The next one that has ended; none when all have. Begins no new one while `most` are due or under way.
    pub(crate) async fn next(&mut self, most: usize) -> Option<EndedCall<T>> {
        loop {
            let before = self.pool.ended();
            if let Some(refused) = self.make_calls(most) {
                return Some(refused);
            }
            if let Some(ended) = self.take_ended() {
                return Some(ended);
            }
            if self.due.is_empty() && self.under_way.is_empty() {
                return None;
            }
            self.pool.ended_since(before).await;
        }
    }

    /// Makes the calls that there is room for. One that can never be made has ended.
    fn make_calls(&mut self, most: usize) -> Option<EndedCall<T>> {
        loop {
            if self.due.is_empty() && self.under_way.len() < most {
                let index = self.index;
                self.due.extend(self.items.next().map(|item| Due { index, item, moves: 0 }));
                self.index += self.due.len();
            }
            let due = self.due.pop_front()?;
            match self.pool.take_room() {
                Room::At(member) => self.make_call(due, member),
                Room::Later => {
                    self.due.push_front(due);
                    return None;
                }
                Room::Never(failure) => return Some((due.index, Err(failure))),
            }
        }
    }

    fn make_call(&mut self, due: Due<I::Item>, member: usize) {
        let outcome = Outcome::default();
        let object = self.pool.call_at(member, self.by, Some(&outcome), |actor| (self.call)(actor, due.item.clone()));
        self.under_way.push(UnderWay { due, object, outcome });
    }

    /// One that has ended and is not to be made again.
    fn take_ended(&mut self) -> Option<EndedCall<T>> {
        loop {
            let at = self.under_way.iter().position(|call| call.outcome.get().is_some())?;
            let UnderWay { due, object, outcome } = self.under_way.remove(at);
            match outcome.get() {
                Some(Err(failure)) if self.pool.retries(failure) && due.moves < MAX_MOVES => {
                    self.due.push_front(Due { moves: due.moves + 1, ..due });
                }
                Some(Err(failure)) => return Some((due.index, Err(failure.clone()))),
                Some(Ok(())) | None => return Some((due.index, Ok(object))),
            }
        }
    }
}

impl<H, I: Iterator, F, T> Drop for Calls<H, I, F, T> {
    fn drop(&mut self) {
        let unfinished = self.under_way.iter().filter(|call| call.outcome.get().is_none());
        unfinished.for_each(|call| call.object.abandon());
    }
}

/// Calls of a pool for many items, and their results in the order of the items: what [`ActorPool::map`] gives.
///
/// Calls are made as results are asked for. Those under way and the results that wait for an earlier one are together no more than
/// twice the calls that may be under way at all actors. Dropped, it cancels the calls that are under way.
#[must_use = "calls are made as their results are asked for"]
pub struct PoolCalls<H, I: Iterator, F, T> {
    calls: Calls<H, I, F, T>,
    /// Results that are there, by their items.
    ended: BTreeMap<usize, Result<ObjectRef<T>, Failure>>,
    /// The item whose result is next.
    index: usize,
}

impl<H, I, F, T> PoolCalls<H, I, F, T>
where
    H: ActorHandle,
    I: Iterator<Item: Clone>,
    F: FnMut(&H, I::Item) -> ObjectRef<T>,
    T: Data,
{
    pub(super) fn new(calls: Calls<H, I, F, T>) -> Self {
        Self { calls, ended: BTreeMap::new(), index: 0 }
    }

    /// The result of the next item, or why there is none; none at the end.
    pub async fn next(&mut self) -> Option<Result<T, Failure>> {
        let most = (2 * self.calls.pool.capacity()).max(1);
        while !self.ended.contains_key(&self.index) {
            let (index, ended) = self.calls.next(most.saturating_sub(self.ended.len())).await?;
            self.ended.insert(index, ended);
        }
        let result = value_of(self.ended.get(&self.index)?).await;
        self.ended.remove(&self.index);
        self.index += 1;
        Some(result)
    }

    /// The results as they come, each with the number of its item, counted from 0.
    pub fn as_completed(self) -> CompletedCalls<H, I, F, T> {
        CompletedCalls { calls: self.calls, ended: self.ended }
    }

    /// All results, in the order of the items.
    ///
    /// # Errors
    /// The first failure that there is. The calls that are under way then are cancelled.
    pub async fn collect(self) -> Result<Vec<T>, Failure> {
        let mut completed = self.as_completed();
        let mut results = BTreeMap::new();
        while let Some((index, result)) = completed.next().await {
            results.insert(index, result?);
        }
        Ok(results.into_values().collect())
    }
}

/// Calls of a pool for many items, and their results as they come: what [`PoolCalls::as_completed`] gives.
#[must_use = "calls are made as their results are asked for"]
pub struct CompletedCalls<H, I: Iterator, F, T> {
    calls: Calls<H, I, F, T>,
    /// What is to be given next.
    ended: BTreeMap<usize, Result<ObjectRef<T>, Failure>>,
}

impl<H, I, F, T> CompletedCalls<H, I, F, T>
where
    H: ActorHandle,
    I: Iterator<Item: Clone>,
    F: FnMut(&H, I::Item) -> ObjectRef<T>,
    T: Data,
{
    /// The next result that is there, or why there is none, with the number of its item; none at the end.
    pub async fn next(&mut self) -> Option<(usize, Result<T, Failure>)> {
        if self.ended.is_empty() {
            let (index, ended) = self.calls.next(usize::MAX).await?;
            self.ended.insert(index, ended);
        }
        // It stays until it was read, as this future may be dropped before.
        let (index, ended) = self.ended.first_key_value()?;
        let (index, result) = (*index, value_of(ended).await);
        self.ended.remove(&index);
        Some((index, result))
    }
}

async fn value_of<T: Data>(ended: &Result<ObjectRef<T>, Failure>) -> Result<T, Failure> {
    match ended {
        Ok(object) => object.await,
        Err(failure) => Err(failure.clone()),
    }
}
