//! What is to be seen of a job, and why what waits does.

mod actors;
mod calls;
mod counts;
mod objects;
mod processes;
mod tasks;
