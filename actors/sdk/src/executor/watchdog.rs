//! Ends this process when code that cannot be stopped takes longer than it may. The node learns why beforehand, and runs
//! elsewhere what else was to be run here.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is done when it is too late.
type Late = Box<dyn FnOnce() + Send>;

/// Watches one piece of code at a time.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether there is a thread.
    started: bool,
    armed: Option<(Instant, Late)>,
}

impl Watchdog {
    /// Does `late` after `timeout`, unless what this returns is dropped before.
    pub(crate) fn arm(&self, timeout: Duration, late: impl FnOnce() + Send + 'static) -> Armed<'_> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = Instant::now().checked_add(timeout) {
            state.armed = Some((at, Box::new(late)));
            if !state.started {
                let shared = Arc::clone(&self.0);
                // Without a thread nothing is watched, and the node ends what takes too long.
                state.started = thread::Builder::new().spawn(move || shared.watch()).is_ok();
            }
            self.0.changed.notify_one();
        }
        Armed(self)
    }
}

impl Shared {
    fn watch(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            state = match state.armed.take() {
                Some((at, late)) if at <= now => {
                    drop(state);
                    late();
                    self.state.lock().unwrap_or_else(PoisonError::into_inner)
                }
                Some((at, late)) => {
                    state.armed = Some((at, late));
                    let waited = self.changed.wait_timeout(state, at - now);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Dropped, the code has ended in time.
pub(crate) struct Armed<'a>(&'a Watchdog);

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        self.0.0.state.lock().unwrap_or_else(PoisonError::into_inner).armed = None;
    }
}
