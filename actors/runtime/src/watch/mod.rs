//! Watches what executors take: memory and processes, of each with all it has started. Ends the rest of those that are gone.
//! Owned by the runtime; asks `/proc`, and cgroups where executors have some, from a thread that may block.

mod census;
mod family;
mod leaders;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tandem_actor_protocol::ExecutorId;
use tandem_node::ExitCause;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::cgroup::Child;
use crate::config::RuntimeConfig;
use crate::executor::Orders;
use census::{Census, own_memory_bytes, read};
use family::{Family, Origins};

pub(crate) use census::Birth;
pub(crate) use leaders::Leaders;

/// A look at all processes may take this share of one processor.
const LOOK_SHARE: u32 = 20;
/// How long killed processes may take to vanish, and the longest wait between two looks at them.
const VANISH_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Makes this process the parent of those of its descendants that lose theirs.
pub(crate) fn adopt_orphans() -> std::io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// When a process started.
pub(crate) fn birth_of(pid: i32) -> Option<Birth> {
    read(pid).map(|process| process.birth)
}

/// One executor that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) family: Family,
    /// What it may take; 0 is no limit.
    pub(crate) limit_bytes: u64,
    /// Who ends it.
    pub(crate) orders: Orders,
    /// What holds all of it, where there can be one.
    pub(crate) cgroup: Option<Child>,
}

impl Watched {
    /// The process that `leader` is, and all that says it is of the same executor.
    pub(crate) fn new(
        leader: Birth,
        executor_of: String,
        limit_bytes: u64,
        orders: Orders,
        cgroup: Option<Child>,
    ) -> Self {
        Self { family: Family::new(leader, executor_of), limit_bytes, orders, cgroup }
    }
}

/// See the module's header. Dropped, it watches no more.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    max_processes: usize,
    leaders: Leaders,
    adopt_orphans: bool,
    state: Mutex<State>,
    /// Told when there is something to watch.
    added: Notify,
}

#[derive(Debug, Default)]
struct State {
    executors: HashMap<ExecutorId, Watched>,
    origins: Origins,
}

impl Watch {
    /// Starts watching for nobody yet.
    pub(crate) fn start(config: &RuntimeConfig) -> Self {
        let shared = Arc::new(Shared {
            max_processes: config.max_processes,
            leaders: Leaders::default(),
            adopt_orphans: config.adopt_orphans,
            state: Mutex::default(),
            added: Notify::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&shared), config.watch_interval));
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// The processes that were started as executors.
    pub(crate) fn leaders(&self) -> &Leaders {
        &self.shared.leaders
    }

    /// Watches one more.
    pub(crate) fn add(&self, executor: ExecutorId, watched: Watched) {
        self.shared.lock().executors.insert(executor, watched);
        self.shared.added.notify_one();
    }

    /// Kills what is left of an executor whose own process has ended and is not reaped, and waits until all of it is gone. Tells if the
    /// system had ended it for the memory that it took.
    pub(crate) async fn end(&self, executor: ExecutorId) -> Option<ExitCause> {
        let mut watched = self.shared.lock().executors.remove(&executor)?;
        let deadline = tokio::time::Instant::now() + VANISH_TIMEOUT;
        let mut wait = Duration::from_millis(1);
        loop {
            let shared = Arc::clone(&self.shared);
            let looked = tokio::task::spawn_blocking(move || {
                shared.look(&mut watched.family);
                watched.kill();
                watched
            });
            watched = looked.await.ok()?;
            if watched.is_gone() {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                warn!(executor = executor.0, processes = watched.family.len(), "killed processes do not vanish");
                break;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        // Its cgroup is removed with it.
        tokio::task::spawn_blocking(move || watched.overrun()).await.ok()?
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for the members of one executor.
    fn look(&self, family: &mut Family) {
        let census = self.take_census();
        let mut state = self.lock();
        state.origins.update(&census);
        family.update(&census, &state.origins);
    }

    /// Looks at all executors.
    fn look_at_all(&self) {
        let census = self.take_census();
        let mut state = self.lock();
        let State { executors, origins } = &mut *state;
        origins.update(&census);
        for watched in executors.values_mut() {
            watched.family.update(&census, origins);
            watched.judge(watched.memory_bytes(|family| family.memory_bytes()));
            let processes = watched.family.len();
            if processes > self.max_processes {
                let reason = format!("it started {processes} processes, more than the {} allowed", self.max_processes);
                watched.orders.kill(ExitCause::Protocol(reason));
            }
        }
    }

    /// Looks at the memory of the processes that were started as executors, or of their cgroups, which is cheap.
    fn look_at_leaders(&self) {
        for watched in self.lock().executors.values() {
            watched.judge(watched.memory_bytes(|family| own_memory_bytes(family.leader().pid)));
        }
    }

    fn take_census(&self) -> Census {
        let census = Census::take();
        if self.adopt_orphans {
            self.leaders.reap_adopted(&census);
        }
        census
    }

    fn is_idle(&self) -> bool {
        self.lock().executors.is_empty()
    }
}

impl Watched {
    /// What the cgroup says, else what is found out in another way.
    fn memory_bytes(&self, otherwise: impl FnOnce(&Family) -> u64) -> u64 {
        let held = self.cgroup.as_ref().and_then(Child::own_memory_bytes);
        held.unwrap_or_else(|| otherwise(&self.family))
    }

    fn kill(&self) {
        self.family.kill();
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    fn is_gone(&self) -> bool {
        self.family.len() == 0 && self.cgroup.as_ref().is_none_or(Child::is_empty)
    }

    /// Why the system has ended it, if it was for the memory that it took.
    fn overrun(&self) -> Option<ExitCause> {
        let peak_bytes = self.cgroup.as_ref()?.overrun_bytes()?;
        Some(ExitCause::MemoryLimit { limit_bytes: self.limit_bytes, peak_bytes })
    }

    fn judge(&self, peak_bytes: u64) {
        let limit_bytes = self.limit_bytes;
        if limit_bytes > 0 && peak_bytes > limit_bytes {
            self.orders.kill(ExitCause::MemoryLimit { limit_bytes, peak_bytes });
        }
    }
}

async fn run(shared: Arc<Shared>, interval: Duration) {
    let mut beat = tokio::time::interval(interval);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut next_full = Instant::now();
    loop {
        beat.tick().await;
        if shared.is_idle() {
            shared.added.notified().await;
            continue;
        }
        let looking = Arc::clone(&shared);
        let full = Instant::now() >= next_full;
        let looked = tokio::task::spawn_blocking(move || {
            let start = Instant::now();
            if full {
                looking.look_at_all()
            } else {
                looking.look_at_leaders()
            }
            start.elapsed()
        });
        match looked.await {
            Ok(took) if full => next_full = Instant::now() + took * LOOK_SHARE,
            Ok(_) => {}
            Err(error) => warn!(%error, "executors could not be looked at"),
        }
    }
}
