//! The calls that run in this process, as far as others may want something of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake};

use futures::task::AtomicWaker;
use tandem_actor_protocol::{ActorId, CallId, ObjectId};
use tokio::sync::Notify;

use crate::objects::Gate;

/// All calls that have begun and not ended.
#[derive(Default)]
pub(crate) struct Calls(Mutex<HashMap<CallId, Arc<Call>>>);

impl Calls {
    pub(crate) fn begin(&self, id: CallId, actor: Option<ActorId>) -> Arc<Call> {
        let call = Arc::new(Call::new(id, actor));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One running call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    /// The actor that it is a call of.
    pub(crate) actor: Option<ActorId>,
    /// Its future wants to be polled.
    woken: AtomicBool,
    /// The node has given it its slot again.
    resumed: AtomicBool,
    /// Someone wants it to end.
    cancelled: AtomicBool,
    cancellation: Notify,
    /// Where its futures wait for objects.
    gates: Mutex<Vec<Arc<Gate>>>,
    /// Who polls it.
    outer: AtomicWaker,
}

impl Call {
    fn new(id: CallId, actor: Option<ActorId>) -> Self {
        Self {
            id,
            actor,
            woken: AtomicBool::new(true),
            resumed: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            cancellation: Notify::new(),
            gates: Mutex::default(),
            outer: AtomicWaker::new(),
        }
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

    pub(crate) fn wake_up(&self) {
        self.woken.store(true, Ordering::Release);
        self.outer.wake();
    }

    pub(crate) fn resume(&self) {
        self.resumed.store(true, Ordering::Release);
        self.outer.wake();
    }

    pub(crate) fn take_resumed(&self) -> bool {
        self.resumed.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.cancellation.notify_waiters();
        self.outer.wake();
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

    pub(crate) fn is_waiting(&self) -> bool {
        !self.gates().is_empty()
    }

    /// The objects that alone can wake the call, as it was polled last with this alarm; none when anything else may.
    pub(crate) fn waits_only_for(&self, alarm: &Arc<Alarm>) -> Option<Vec<ObjectId>> {
        let gates = self.gates();
        let direct: Vec<_> = gates.iter().filter(|gate| gate.wakes(Arc::as_ptr(alarm).cast())).collect();
        // Each of them has a clone; one more is that of a timer, a channel, or whatever else it waits for.
        let alone = Arc::strong_count(alarm) == direct.len() + 1;
        alone.then(|| direct.iter().flat_map(|gate| gate.objects()).copied().collect())
    }

    fn gates(&self) -> MutexGuard<'_, Vec<Arc<Gate>>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As a waker it notes that the future of a call has something to do. Whatever can wake that future has a clone.
#[derive(Debug)]
pub(crate) struct Alarm(pub(crate) Arc<Call>);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.wake_up();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_up();
    }
}

thread_local! {
    /// The call whose code this thread runs.
    static CURRENT: RefCell<Option<Arc<Call>>> = const { RefCell::new(None) };
}

/// Runs `code` as that of `call`.
pub(crate) fn within<T>(call: &Arc<Call>, code: impl FnOnce() -> T) -> T {
    /// Puts back what was there, also when the code panics.
    struct Restore(Option<Arc<Call>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let before = self.0.take();
            CURRENT.with(|current| *current.borrow_mut() = before);
        }
    }
    let _restore = Restore(CURRENT.with(|current| current.borrow_mut().replace(Arc::clone(call))));
    code()
}

/// The call whose code this is.
pub(crate) fn current() -> Option<Arc<Call>> {
    CURRENT.with(|current| current.borrow().clone())
}

/// Says that a future of the current call waits for objects, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting(Option<(Arc<Call>, Arc<Gate>)>);

impl Waiting {
    pub(crate) fn begin(gate: &Arc<Gate>) -> Self {
        Self(current().map(|call| {
            call.gates().push(Arc::clone(gate));
            (call, Arc::clone(gate))
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((call, gate)) = &self.0 {
            call.gates().retain(|other| !Arc::ptr_eq(other, gate));
        }
    }
}
