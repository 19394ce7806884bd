//! Between the wire's messages and the state machine's types. Nothing else in this crate converts.

mod commands;
mod groups;
mod leases;
mod names;
mod reports;
mod stages;
mod status;

pub(crate) use commands::{command, registered, rejected};
pub(crate) use groups::group_status;
pub(crate) use names::{name_claim, name_wanted, named_actor, names_dropped};
pub(crate) use reports::{Malformed, registration, worker_event};
pub(crate) use stages::{job_program, stage_definition, staged_file};
pub(crate) use status::{JobFace, cluster_status, explained, job_status, node_status, task_status};
