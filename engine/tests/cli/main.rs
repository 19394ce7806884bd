//! Every command of the built binary, as a user would type it: what it prints where, and its exit code.

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod cluster;
mod devices;
mod disk;
mod errors;
mod functions;
mod job;
mod listeners;
mod logs;
mod metrics;
mod new;
mod readme;
mod remote;
mod run;
mod sql;
mod texts;
