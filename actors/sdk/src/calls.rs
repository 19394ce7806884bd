//! The calls that run in this process, as far as others may want something of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Wake};

use tandem_actor_protocol::{ActorId, CallId, ObjectId};
use tokio::sync::Notify;

use crate::objects::Gate;
use crate::sync::{AtomicBool, AtomicWaker, Mutex, MutexGuard};
use crate::task::Yields;

/// All calls that have begun and not ended.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<CallId, Arc<Call>>>);

impl Calls {
    pub(crate) fn begin(&self, id: CallId, actor: Option<ActorId>) -> Arc<Call> {
        self.begin_this(Call::new(id, actor))
    }

    /// One begins that yields items.
    pub(crate) fn begin_stream(&self, id: CallId, actor: Option<ActorId>, yields: Yields) -> Arc<Call> {
        self.begin_this(Call { yields: Some(yields), ..Call::new(id, actor) })
    }

    fn begin_this(&self, call: Call) -> Arc<Call> {
        let (id, call) = (call.id, Arc::new(call));
        self.lock().insert(id, Arc::clone(&call));
        call
    }

    pub(crate) fn end(&self, id: CallId) {
        self.lock().remove(&id);
    }

    pub(crate) fn get(&self, id: CallId) -> Option<Arc<Call>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Arc<Call>>> {
        lock(&self.0)
    }
}

/// One running call. It may wait in several places at once, on threads of its own.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    /// The actor that it is a call of.
    pub(crate) actor: Option<ActorId>,
    /// How far it may yield items, if it does.
    pub(crate) yields: Option<Yields>,
    slot: Mutex<Slot>,
    /// Someone wants it to end.
    cancelled: AtomicBool,
    cancellation: Notify,
    /// Where it waits.
    waiters: Mutex<Vec<Arc<Waiter>>>,
}

/// Who has the slot of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    /// The call.
    Own,
    /// Others, as long as the call waits for objects.
    Lent,
    /// Others still, but the call wants it back.
    Asked,
}

impl Call {
    fn new(id: CallId, actor: Option<ActorId>) -> Self {
        Self {
            id,
            actor,
            yields: None,
            slot: Mutex::new(Slot::Own),
            cancelled: AtomicBool::new(false),
            cancellation: Notify::new(),
            waiters: Mutex::default(),
        }
    }

    /// A place more where the call waits.
    pub(crate) fn wait_at(&self) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter::new());
        self.waiters().push(Arc::clone(&waiter));
        waiter
    }

    pub(crate) fn leave(&self, waiter: &Arc<Waiter>) {
        self.waiters().retain(|other| !Arc::ptr_eq(other, waiter));
    }

    /// The call waits for objects: `tell` says so, unless that was said.
    pub(crate) fn lend_slot(&self, tell: impl FnOnce()) {
        self.pass_slot(Slot::Own, Slot::Lent, tell);
    }

    /// The call has something to do: `tell` says so, unless that was said, or the slot is its own.
    pub(crate) fn want_slot(&self, tell: impl FnOnce()) {
        self.pass_slot(Slot::Lent, Slot::Asked, tell);
    }

    /// What is told is told in the order in which it happens, from whatever thread.
    fn pass_slot(&self, from: Slot, to: Slot, tell: impl FnOnce()) {
        let mut slot = lock(&self.slot);
        if *slot == from {
            *slot = to;
            tell();
        }
    }

    pub(crate) fn has_slot(&self) -> bool {
        *lock(&self.slot) == Slot::Own
    }

    /// The node has given it its slot again.
    pub(crate) fn resume(&self) {
        *lock(&self.slot) = Slot::Own;
        self.look_again();
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancellation.notify_waiters();
        self.look_again();
    }

    fn look_again(&self) {
        // Not under the lock: who is woken may leave at once.
        let waiters = self.waiters().clone();
        waiters.iter().for_each(|waiter| waiter.outer.wake());
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Ends when the call is to end.
    pub(crate) async fn cancelled(&self) {
        let notified = self.cancellation.notified();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Arc<Waiter>>> {
        lock(&self.waiters)
    }
}

/// One place where a call waits for a future.
#[derive(Debug)]
pub(crate) struct Waiter {
    /// The future wants to be polled.
    woken: AtomicBool,
    /// Where it waits for objects.
    gates: Mutex<Vec<Arc<Gate>>>,
    /// Who polls it.
    outer: AtomicWaker,
}

impl Waiter {
    fn new() -> Self {
        Self { woken: AtomicBool::new(true), gates: Mutex::default(), outer: AtomicWaker::new() }
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        self.outer.register(cx.waker());
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }

    pub(crate) fn take_woken(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }

    fn wake_up(&self) {
        // Exchanged, not stored: whoever takes it sees what all those have done that said so, not only the last one.
        self.woken.swap(true, Ordering::AcqRel);
        self.outer.wake();
    }

    pub(crate) fn waits_for_objects(&self) -> bool {
        !self.gates().is_empty()
    }

    /// The objects that alone can wake the future, as it was polled last with this alarm; none when anything else may.
    pub(crate) fn waits_only_for(&self, alarm: &Arc<Alarm>) -> Option<Vec<ObjectId>> {
        let gates = self.gates();
        // What opens a gate without objects is not known to the node.
        if gates.iter().any(|gate| gate.objects().is_empty()) {
            return None;
        }
        let direct: Vec<_> = gates.iter().filter(|gate| gate.wakes(Arc::as_ptr(alarm).cast())).collect();
        // Each of them has a clone; one more is that of a timer, a channel, or whatever else it waits for.
        let alone = Arc::strong_count(alarm) == direct.len() + 1;
        alone.then(|| direct.iter().flat_map(|gate| gate.objects()).copied().collect())
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Arc<Gate>>> {
        lock(&self.gates)
    }
}

/// As a waker it notes that a future has something to do. Whatever can wake that future has a clone.
#[derive(Debug)]
pub(crate) struct Alarm(pub(crate) Arc<Waiter>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_up();
    }
}

/// Whose code a thread runs.
#[derive(Debug, Clone)]
struct Current {
    call: Arc<Call>,
    /// Where it is waited for, if it is that of a future.
    waiter: Option<Arc<Waiter>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Runs `code` as that of `call`.
pub(crate) fn within<T>(call: &Arc<Call>, code: impl FnOnce() -> T) -> T {
    as_current(Current { call: Arc::clone(call), waiter: None }, code)
}

/// Runs `code` as that of `call`, which waits for it there.
pub(crate) fn within_waiter<T>(call: &Arc<Call>, waiter: &Arc<Waiter>, code: impl FnOnce() -> T) -> T {
    as_current(Current { call: Arc::clone(call), waiter: Some(Arc::clone(waiter)) }, code)
}

fn as_current<T>(now: Current, code: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when the code panics.
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with(|current| *current.borrow_mut() = before);
        }
    }
    let _restore = Restore(CURRENT.with(|current| current.borrow_mut().replace(now)));
    code()
}

/// The call whose code this is.
pub(crate) fn current() -> Option<Arc<Call>> {
    CURRENT.with(|current| current.borrow().as_ref().map(|current| Arc::clone(&current.call)))
}

/// Says that the future that is polled now waits for objects, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Option<(Arc<Waiter>, Arc<Gate>)>);

impl Waiting {
    pub(crate) fn begin(gate: &Arc<Gate>) -> Self {
        let waiter = CURRENT.with(|current| current.borrow().as_ref().and_then(|current| current.waiter.clone()));
        Self(waiter.map(|waiter| {
            waiter.gates().push(Arc::clone(gate));
            (waiter, Arc::clone(gate))
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((waiter, gate)) = &self.0 {
            waiter.gates().retain(|other| !Arc::ptr_eq(other, gate));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
