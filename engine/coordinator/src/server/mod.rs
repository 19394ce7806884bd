//! The shell around the state machine: one task owns the cluster, everything else talks to it over a bounded channel.
//!
//! ```text
//!   workers ──Attach──▶ cluster_service ─┐                    ┌─▶ outboxes of the workers' streams
//!   clients ──RPC─────▶ job_service ─────┼─Message─▶ owner ───┼─▶ journal
//!                package_service, logs ──┤                    │
//!   timers, chores ──────────────────────┘  (handle, perform) └─▶ chores: publish, clean up, report
//! ```
//! Invariant: the owner never waits, not for the journal, a worker or a file; what takes time is a chore that sends an
//! event when it is done.

mod chores;
mod cluster_service;
mod follow;
mod job_service;
mod job_table;
mod logs;
mod message;
mod outbox;
mod owner;
mod package_service;
mod planning;
mod relay;
mod stage_parts;
mod state_service;
mod submit;
#[cfg(test)]
mod tests;
mod totals;

pub(crate) use cluster_service::ClusterRpc;
pub(crate) use job_service::{Identity, JobRpc};
pub(crate) use job_table::{JobEntry, JobTable};
pub(crate) use logs::Logs;
pub(crate) use message::{ClusterHandle, Seen};
pub(crate) use owner::Owner;
pub(crate) use package_service::{PackageRpc, PackageStores};
pub(crate) use planning::Planner;
pub(crate) use relay::Relay;
pub(crate) use state_service::StateRpc;
pub(crate) use submit::Submitter;
pub(crate) use totals::Totals;
