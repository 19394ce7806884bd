//! The processes that this one has started as executors and not reaped. Whoever reaps others, which this process has adopted,
//! must leave these alone.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, waitpid};

use super::census::Census;

/// Shared by all who start executors.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaders(Arc<Mutex<HashSet<i32>>>);

impl Leaders {
    /// Starts a process that is known before anyone can take it for an adopted one.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut leaders = self.lock();
        let child = command.spawn()?;
        leaders.insert(child.id() as i32);
        Ok(child)
    }

    /// It was reaped.
    pub(crate) fn remove(&self, pid: i32) {
        self.lock().remove(&pid);
    }

    /// Reaps ended children of this process that it has not started itself.
    pub(crate) fn reap_adopted(&self, census: &Census) {
        let leaders = self.lock();
        for process in census.children(std::process::id() as i32).filter(|process| process.zombie) {
            let pid = process.birth.pid;
            if let Some(pid) = Pid::from_raw(pid).filter(|_| !leaders.contains(&pid)) {
                // Gone already, or not ours: nothing is to be done.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<i32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
