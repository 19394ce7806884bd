//! Which jobs have something here. A job may come back while the rest of what it had before still ends, when its driver starts
//! again: what is said of it then waits until that is gone. Pure.
//!
//!   nothing ─► here ─gone─► ending (holds back) ─forgotten─► nothing, then what was held back

use std::collections::HashMap;

use tandem_actor_protocol::JobId;
use tandem_node::Event;

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    known: HashMap<JobId, State>,
}

#[derive(Debug)]
enum State {
    Here,
    Ending { held_back: Vec<Event> },
}

impl Jobs {
    /// Something of a job is here. Returns whether there was nothing before.
    pub(super) fn begin(&mut self, job: JobId) -> bool {
        let new = !self.known.contains_key(&job);
        self.known.entry(job).or_insert(State::Here);
        new
    }

    /// The event, unless it has to wait.
    pub(super) fn pass(&mut self, event: Event) -> Option<Event> {
        if let Event::JobGone { job } = &event {
            if let Some(state @ State::Here) = self.known.get_mut(job) {
                *state = State::Ending { held_back: Vec::new() };
            }
            return Some(event);
        }
        match opens(&event).and_then(|job| self.known.get_mut(&job)) {
            Some(State::Ending { held_back }) => {
                held_back.push(event);
                None
            }
            Some(State::Here) | None => Some(event),
        }
    }

    /// Nothing of a job is left. Returns what has waited for that.
    pub(super) fn forget(&mut self, job: JobId) -> Vec<Event> {
        match self.known.remove(&job) {
            Some(State::Ending { held_back }) => held_back,
            Some(State::Here) | None => Vec::new(),
        }
    }
}

/// The job that an event may bring here anew.
fn opens(event: &Event) -> Option<JobId> {
    match event {
        Event::DriverLaunched { job, .. }
        | Event::DriverCancelled { job }
        | Event::FunctionWanted { job, .. }
        | Event::PlaceWanted { job, .. }
        | Event::PlaceDropped { job, .. }
        | Event::SpaceWanted { job, .. } => Some(*job),
        Event::LeaseGranted(grant) => Some(grant.job),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tandem_node::DriverWork;

    use super::*;

    const JOB: JobId = JobId(1);

    fn launched(attempt: u32) -> Event {
        Event::DriverLaunched { job: JOB, attempt, driver: DriverWork::Program(Vec::new()) }
    }

    #[test]
    fn the_next_driver_waits_until_nothing_is_left_of_the_last_one() {
        let mut jobs = Jobs::default();
        let gone = Event::JobGone { job: JOB };
        assert_eq!(jobs.pass(launched(0)), Some(launched(0)));
        assert!(jobs.begin(JOB) && !jobs.begin(JOB));
        assert_eq!(jobs.pass(gone.clone()), Some(gone.clone()));
        assert_eq!(jobs.pass(launched(1)), None);
        assert_eq!(jobs.pass(Event::Tick), Some(Event::Tick));
        assert_eq!(jobs.pass(gone.clone()), Some(gone.clone()));
        assert_eq!(jobs.forget(JOB), [launched(1)]);
        assert_eq!(jobs.pass(launched(1)), Some(launched(1)));
        assert_eq!(jobs.pass(gone.clone()), Some(gone));
        assert_eq!(jobs.forget(JOB), []);
    }
}
