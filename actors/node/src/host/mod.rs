//! What runs on the leases of this worker: tasks of its own and of other workers. Leases are never over-booked.

mod back;
mod cancel;
mod dispatch;
mod ended;
mod gpus;
mod group;
mod leases;
mod start;
mod streams;
mod task;
mod waits;

pub(crate) use gpus::{GpuShare, Gpus};
pub(crate) use group::Group;
pub(crate) use leases::{EndedLeases, HostLease, LeaseState};
pub(crate) use start::PeerRun;
pub(crate) use task::{Guest, Hosted, Phase, Source};

/// The places of one kind that a job has here, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(pub(crate) u32);

impl GroupId {
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}
