//! Which jobs have something here. A job may come back while the rest of what it had before still ends, when its driver starts
//! again: what is said of it then waits until that is gone. Pure.
//!
//!   nothing ─► here ─gone─► ending (holds back) ─forgotten─► nothing, then what was held back

use std::collections::HashMap;

use tandem_actor_protocol::JobId;
use tandem_node::Event;

use super::Happening;

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    known: HashMap<JobId, State>,
}

#[derive(Debug)]
enum State {
    Here,
    Ending { held_back: Vec<Happening> },
}

impl Jobs {
    /// Something of a job is here. Returns whether there was nothing before.
    pub(super) fn begin(&mut self, job: JobId) -> bool {
        let new = !self.known.contains_key(&job);
        self.known.entry(job).or_insert(State::Here);
        new
    }

    /// What happened, unless it has to wait.
    pub(super) fn pass(&mut self, happening: Happening) -> Option<Happening> {
        if let Event::JobGone { job } = &happening.event {
            if let Some(state @ State::Here) = self.known.get_mut(job) {
                *state = State::Ending { held_back: Vec::new() };
            }
            return Some(happening);
        }
        match opens(&happening.event).and_then(|job| self.known.get_mut(&job)) {
            Some(State::Ending { held_back }) => {
                held_back.push(happening);
                None
            }
            Some(State::Here) | None => Some(happening),
        }
    }

    /// Nothing of a job is left. Returns what has waited for that.
    pub(super) fn forget(&mut self, job: JobId) -> Vec<Happening> {
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
    use tokio::sync::oneshot;

    use super::super::Driver;
    use super::*;
    use crate::inbox::Seat;

    const JOB: JobId = JobId(1);

    fn launched(attempt: u32) -> Happening {
        let event = Event::DriverLaunched { job: JOB, attempt, driver: DriverWork::Program(Vec::new()) };
        Happening { event, driver: Some(Driver { attempt, seat: Seat::Process, reply: oneshot::channel().0 }) }
    }

    /// Which attempt is launched, and whether somebody waits for it.
    fn launches(happening: &Happening) -> Option<u32> {
        let Event::DriverLaunched { attempt, .. } = happening.event else { return None };
        happening.driver.as_ref().map(|driver| driver.attempt).filter(|driver| *driver == attempt)
    }

    #[test]
    fn the_next_driver_waits_until_nothing_is_left_of_the_last_one() {
        let mut jobs = Jobs::default();
        let gone = || Happening::from(Event::JobGone { job: JOB });
        assert!(jobs.pass(launched(0)).is_some());
        assert!(jobs.begin(JOB) && !jobs.begin(JOB));
        assert!(jobs.pass(gone()).is_some());
        assert!(jobs.pass(launched(1)).is_none());
        assert!(jobs.pass(Event::Tick.into()).is_some());
        assert!(jobs.pass(gone()).is_some());
        let waited: Vec<_> = jobs.forget(JOB).iter().map(launches).collect();
        assert_eq!(waited, [Some(1)], "with whoever waits for it");
        assert!(jobs.pass(launched(1)).is_some());
        assert!(jobs.pass(gone()).is_some());
        assert!(jobs.forget(JOB).is_empty());
    }
}
