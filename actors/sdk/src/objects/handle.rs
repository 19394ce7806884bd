//! What this process knows of one object, as long as anything here holds it.
//! Invariant: a value that is more than a few bytes is kept only while someone is about to take it.
//!
//! ```text
//!   Unknown ─watch─► Asked ─Ready─► There ─┐
//!      └──────fetch─────────► Fetching ◄───┘ ─Value─► Known      Known ─large, taken by all─► There
//! ```

use std::sync::{Arc, PoisonError};

use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::failure::Failure;

use super::gate::Gate;
use crate::process::Process;
use crate::sync::{Mutex, MutexGuard};
use crate::value::Fetched;

/// A value, or why there is none.
pub(crate) type Outcome = Result<Fetched, Arc<Failure>>;

/// Values up to this many bytes are kept as long as the object is held.
const KEPT_BYTES: usize = 4 << 10;

/// One object. Dropped, this process holds it no more.
pub(crate) struct Handle {
    id: ObjectId,
    /// Where it is held; none for one that could not be submitted, which only exists here.
    process: Option<Arc<Process>>,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// What is there once the call that makes this has ended, if that was asked for.
    end: Option<Arc<Handle>>,
    /// How many are about to take the value.
    takers: usize,
    waiters: Vec<Waiter>,
}

enum Phase {
    Unknown,
    Asked,
    There,
    Fetching,
    Known(Outcome),
}

struct Waiter {
    gate: Arc<Gate>,
    for_value: bool,
}

impl Handle {
    pub(crate) fn new(process: Arc<Process>, id: ObjectId) -> Self {
        Self { id, process: Some(process), state: Mutex::new(State::new(Phase::Unknown)) }
    }

    /// An object that has failed before the node heard of it.
    pub(crate) fn failed(failure: Failure) -> Self {
        let state = State::new(Phase::Known(Err(Arc::new(failure))));
        Self { id: ObjectId(0), process: None, state: Mutex::new(state) }
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    pub(crate) fn process(&self) -> Option<&Arc<Process>> {
        self.process.as_ref()
    }

    /// Why the node has never heard of it; none for most.
    pub(crate) fn never_sent(&self) -> Option<Arc<Failure>> {
        match (&self.process, &self.lock().phase) {
            (None, Phase::Known(Err(failure))) => Some(Arc::clone(failure)),
            _ => None,
        }
    }

    /// The value, if it is here.
    pub(crate) fn known(&self) -> Option<Outcome> {
        match &self.lock().phase {
            Phase::Known(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// Whether it has a value or never will, as far as this process knows.
    pub(crate) fn is_there(&self) -> bool {
        matches!(self.lock().phase, Phase::There | Phase::Known(_))
    }

    /// What is there, and small, once the call that makes this has ended.
    pub(crate) fn set_end(&self, end: Arc<Handle>) {
        self.lock().end = Some(end);
    }

    /// What [`Self::set_end`] has set, once.
    pub(crate) fn take_end(&self) -> Option<Arc<Handle>> {
        self.lock().end.take()
    }

    /// Asks for the value, which is kept until [`Self::end_take`]. The gate is told at once if it is here.
    pub(crate) fn begin_take(&self, gate: &Arc<Gate>) {
        let mut state = self.lock();
        state.takers += 1;
        match &state.phase {
            Phase::Known(outcome) => {
                let failed = outcome.is_err();
                drop(state);
                return if failed { gate.fail() } else { gate.arrive() };
            }
            Phase::Fetching => {}
            Phase::Unknown | Phase::Asked | Phase::There => {
                state.phase = Phase::Fetching;
                self.watch(true);
            }
        }
        state.waiters.push(Waiter { gate: Arc::clone(gate), for_value: true });
    }

    /// The value is taken, or not wanted any more.
    pub(crate) fn end_take(&self) {
        let mut state = self.lock();
        state.takers -= 1;
        state.let_go_of_large();
    }

    /// The node tells when there is a value without being asked.
    pub(crate) fn will_be_told(&self) {
        let mut state = self.lock();
        if let Phase::Unknown = state.phase {
            state.phase = Phase::Asked;
        }
    }

    /// Tells the gate when there is a value or will never be one.
    pub(crate) fn watch_for(&self, gate: &Arc<Gate>) {
        let mut state = self.lock();
        match state.phase {
            Phase::Known(_) | Phase::There => {
                drop(state);
                return gate.arrive();
            }
            Phase::Unknown => {
                state.phase = Phase::Asked;
                self.watch(false);
            }
            Phase::Asked | Phase::Fetching => {}
        }
        state.waiters.push(Waiter { gate: Arc::clone(gate), for_value: false });
    }

    /// The gate is not waited at any more.
    pub(crate) fn forget(&self, gate: &Arc<Gate>) {
        self.lock().waiters.retain(|waiter| !Arc::ptr_eq(&waiter.gate, gate));
    }

    /// The node says what it is.
    pub(crate) fn set_value(&self, outcome: Outcome) {
        let failed = outcome.is_err();
        let mut state = self.lock();
        let waiters = std::mem::take(&mut state.waiters);
        let before = std::mem::replace(&mut state.phase, Phase::Known(outcome));
        state.let_go_of_large();
        drop((state, before));
        waiters
            .iter()
            .for_each(|waiter| if failed && waiter.for_value { waiter.gate.fail() } else { waiter.gate.arrive() });
    }

    /// Nobody can say any more what it is. A value that is here stays.
    pub(crate) fn lose(&self, failure: &Arc<Failure>) {
        if self.known().is_none() {
            self.set_value(Err(Arc::clone(failure)));
        }
    }

    /// The node says that there is a value or never will be one.
    pub(crate) fn set_ready(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Unknown | Phase::Asked) {
            state.phase = Phase::There;
        }
        let told: Vec<Waiter> = state.waiters.extract_if(.., |waiter| !waiter.for_value).collect();
        drop(state);
        told.iter().for_each(|waiter| waiter.gate.arrive());
    }

    fn watch(&self, fetch: bool) {
        if let Some(process) = &self.process {
            process.transport().watch(self.id, fetch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(phase: Phase) -> Self {
        Self { phase, end: None, takers: 0, waiters: Vec::new() }
    }

    fn let_go_of_large(&mut self) {
        if self.takers == 0
            && let Phase::Known(Ok(value)) = &self.phase
            && value.len() > KEPT_BYTES
        {
            self.phase = Phase::There;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            process.objects().remove(process.transport(), self);
        }
    }
}
