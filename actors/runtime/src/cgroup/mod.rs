//! Memory limits that the system itself holds: each executor in a cgroup (v2) of its own, below the one of the worker. Used where the worker
//! may divide its own cgroup, which then has nothing but the worker in it; else executors are watched only.
//!
//! ```text
//!   ROOT (of the worker when it starts) ─┬─ tandem-WORKER ─┬─ worker        the worker's own process
//!                                        │                 └─ executor-ID   an executor and all that it starts
//!                                        └─ tandem-…                        of another worker, or left by one that was killed
//! ```
//!
//! Invariants: whatever fails here, executors start and run as they would without; no folder is removed while a process is in it, but those
//! of a worker that is gone, which are ended.

mod child;
mod place;
mod tree;

use std::io;
use std::path::Path;

pub(crate) use child::{Child, ChildLimits};
pub use place::{NoCgroups, divisible_cgroup};
pub(crate) use tree::Cgroups;

/// What executors are held by.
pub(crate) const CONTROLLERS: &[&str] = &["memory", "pids"];
/// The processes of a cgroup; writing one moves it there.
const PROCESSES: &str = "cgroup.procs";
/// Which controllers children have.
const OF_CHILDREN: &str = "cgroup.subtree_control";

/// Whether a process is in a cgroup or below it; not where that cannot be read.
fn is_populated(folder: &Path) -> bool {
    let events = std::fs::read_to_string(folder.join("cgroup.events")).unwrap_or_default();
    field(&events, "populated").is_some_and(|populated| populated > 0)
}

/// The number behind `name` in a file of such lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Ends every process of a cgroup and below it.
fn kill_all(folder: &Path) -> io::Result<()> {
    std::fs::write(folder.join("cgroup.kill"), "1")
}
