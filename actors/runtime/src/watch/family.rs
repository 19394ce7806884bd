//! An executor's process and all that it has started, also what left its group or lost its parent.

use std::collections::{HashMap, HashSet};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::census::{Birth, Census, own_memory_bytes, read, variable};
use crate::executor::environment::EXECUTOR_OF;

/// Which executor each process says it is of, asked once for each process.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    known: HashMap<Birth, Option<String>>,
}

impl Origins {
    /// Asks those that are new, and forgets those that are gone.
    pub(crate) fn update(&mut self, census: &Census) {
        let known = std::mem::take(&mut self.known);
        let births = census.all().map(|process| process.birth);
        let asked = births.map(|birth| match known.get(&birth) {
            Some(origin) => (birth, origin.clone()),
            None => (birth, variable(birth.pid, EXECUTOR_OF)),
        });
        self.known = asked.collect();
    }

    fn of<'a>(&'a self, executor_of: &'a str) -> impl Iterator<Item = Birth> + 'a {
        self.known.iter().filter(move |(_, origin)| origin.as_deref() == Some(executor_of)).map(|(birth, _)| *birth)
    }
}

/// See the module's header.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    leader: Birth,
    /// The value of [`EXECUTOR_OF`].
    executor_of: String,
    /// All that were found at the last look.
    known: HashSet<Birth>,
}

impl Family {
    pub(crate) fn new(leader: Birth, executor_of: String) -> Self {
        Self { leader, executor_of, known: HashSet::new() }
    }

    /// The process that was started by the worker.
    pub(crate) fn leader(&self) -> Birth {
        self.leader
    }

    /// Looks again.
    pub(crate) fn update(&mut self, census: &Census, origins: &Origins) {
        self.known.extend(origins.of(&self.executor_of));
        self.known = census.members(self.leader, &self.known);
    }

    /// How many there are that live.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What they take together, without what they share with others.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.known.iter().map(|birth| own_memory_bytes(birth.pid)).sum()
    }

    /// Ends all that were found.
    pub(crate) fn kill(&self) {
        for birth in &self.known {
            let Some(pid) = Pid::from_raw(birth.pid) else { continue };
            // Held by this, the process id is of the same process before and after it is checked.
            let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if read(birth.pid).is_some_and(|process| process.birth == *birth) {
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
        }
    }
}
