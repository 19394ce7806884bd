//! Jobs as users know them: job files, the built-in jobs, planning a job into stages, reports of what it did, and data
//! to try it on. Nothing here runs a job.

pub mod builtin;
pub mod datagen;
#[doc(hidden)]
pub mod fuzz;
pub mod job_file;
pub mod planned;
pub mod planner;
pub mod report;
