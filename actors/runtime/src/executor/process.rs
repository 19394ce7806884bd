//! One process with a group of its own. Dropped, it and its group are killed and reaped.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::debug;

use super::spawner::Spawned;
use crate::watch::{Birth, Leaders, birth_of};

/// The system ends a process of a job before the worker when memory is short.
const OOM_SCORE: &str = "500";

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    birth: Birth,
    /// Readable once the process has ended.
    exit: AsyncFd<OwnedFd>,
    reaped: bool,
    leaders: Leaders,
}

impl Process {
    /// Watches a process that was started.
    ///
    /// # Errors
    /// When the system refuses; it is killed then.
    pub(crate) fn watch(spawned: Spawned, leaders: &Leaders) -> io::Result<Self> {
        let child = spawned.child().ok_or(io::ErrorKind::NotFound)?;
        let pid = Pid::from_child(child);
        let birth = birth_of(pid.as_raw_nonzero().get()).ok_or(io::ErrorKind::NotFound)?;
        let exit = watch_exit(pid)?;
        let child = spawned.take().ok_or(io::ErrorKind::NotFound)?;
        if let Err(error) = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), OOM_SCORE) {
            debug!(%error, "the out-of-memory score of an executor was not raised");
        }
        Ok(Self { child, pid, birth, exit, reaped: false, leaders: leaders.clone() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Who it is, beyond its process id.
    pub(crate) fn birth(&self) -> Birth {
        self.birth
    }

    /// Its standard output and error, once.
    pub(crate) fn take_outputs(&mut self) -> [Option<OwnedFd>; 2] {
        [self.child.stdout.take().map(OwnedFd::from), self.child.stderr.take().map(OwnedFd::from)]
    }

    /// Waits until it has ended. It is not reaped by that.
    pub(crate) async fn exited(&self) {
        // An error would be one of the event loop itself, which then ends everything else too.
        let _ = self.exit.readable().await;
    }

    /// Sends a signal to its whole group. No other group can have its number before it is reaped.
    pub(crate) fn signal_group(&self, signal: Signal) {
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => debug!(pid = self.pid(), %error, "a process group was not signalled"),
        }
    }

    /// Takes its status, after it has ended.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        self.wait()
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        let status = self.child.wait();
        self.leaders.remove(self.birth.pid);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal_group(Signal::KILL);
            let _ = self.wait();
        }
    }
}

/// A descriptor that is readable once the process has ended.
#[expect(unsafe_code, reason = "Tokio wants to be told that the descriptor stays the same")]
fn watch_exit(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    let exit = pidfd_open(pid, PidfdFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` owns one descriptor, the same for as long as it lives, and this one is not handed out mutably.
    Ok(unsafe { AsyncFd::register_with_interest(exit, Interest::READABLE) }?)
}
