//! Clusters on this machine: a folder of state, a supervisor, and the processes it keeps running.
//!
//! `cluster up` starts a detached supervisor over the user's state folder; `run` and `sql --local` are their own
//! supervisor over a folder of their own. Both are a [`LocalCluster`]. Whoever holds a folder's lock is its supervisor;
//! when the lock is free, nothing in the folder is alive.

mod children;
mod cluster;
mod control;
mod detached;
mod folder;
mod listeners;
mod private;
mod restart;
mod shape;
mod supervisor;

pub(crate) use children::follow_supervisor;
pub(crate) use cluster::{ClusterFault, JobSpan, LocalCluster};
pub(crate) use control::{Asked, ControlAnswer, ControlRequest, ask, serve_control};
pub(crate) use detached::{Launched, launch, tell_launcher};
pub(crate) use folder::{FolderError, StateFolder};
pub(crate) use listeners::InheritedListeners;
pub(crate) use private::PrivateCluster;
pub(crate) use shape::{ClusterShape, default_memory_bytes};
