//! The brain of a cluster: jobs, stages, tasks and workers as plain structs, advanced by [`Cluster::handle`].
//! Owned by the coordinator, the shell around it; nothing else changes it.
//! Invariant: nothing here reads a clock, draws a random number, does I/O, takes a lock or awaits. The same events at
//! the same times give the same actions, which is what lets `tests/simulation` replay a cluster from a seed.
//!
//! ```text
//!   shell ──Event──▶ Cluster::handle ──Vec<Action>──▶ shell (send, journal, publish)
//!                          │
//!                          └── views: what an RPC or a metric shows of it
//! ```
#![deny(unsafe_code)]

mod action;
mod audit;
mod cluster;
mod config;
mod contact;
mod demanding;
mod dispatch;
mod division;
mod drivers;
mod event;
mod fusion;
mod gpus;
mod groups;
mod inspect;
mod job;
mod leases;
mod lending;
mod lifecycle;
mod lineage;
mod membership;
mod names;
mod needs;
mod packing;
mod placement;
mod placing;
mod plan;
mod queue;
mod reason;
mod report;
mod reports;
mod reserving;
mod resources;
mod restore;
mod sharing;
mod sizes;
mod sizing;
mod stage;
mod stragglers;
mod task;
mod time;
mod timers;
mod totals;
mod views;
mod worker;
mod workers;

pub use action::{Action, Fact, FinishedTask, GroupNews};
pub use cluster::Cluster;
pub use config::ClusterConfig;
pub use division::{Division, FittedTask, Share};
pub use event::{
    Event, GroupReport, HeldOutput, LeaseDemand, LeaseGrant, LeaseReport, Progress, Registration, WorkerInfo,
    WorkerUsage,
};
pub use groups::{BundleId, GroupPlan, PlacementGroupId, Strategy};
pub use names::{ActorId, ActorName, NameError, NamedActor, Namespace};
pub use plan::{CountCheck, FusionPlan, JobPlan, StagePlan, VariantPlan};
pub use reason::{FailureReason, GroupReason, JobFailure, JobOutcome, PendingReason};
pub use report::{
    AttemptId, CountKind, FailureKind, OperatorMetrics, RowCount, StagedFile, TaskFailure, TaskMetrics, TaskOutcome,
    TaskOutput,
};
pub use resources::{CPUS, Resources, Shape};
pub use restore::{RestoredCommit, RestoredJob};
pub use time::Timestamp;
pub use views::{
    BundleView, ClusterView, Counters, GroupStateView, GroupView, InputsError, JobState, JobView, NodeState, NodeView,
    ResultPartition, StageInput, StageView, TaskState, TaskView,
};
