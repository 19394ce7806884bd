//! Threads for programs and for the parts of a cluster.

use std::future::Future;

use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::runtime::Builder;

/// What Ballista's scheduler has; plans are deep.
const STACK_BYTES: usize = 32 << 20;

/// Runs a program on so many threads.
pub fn as_program(threads: usize, program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime =
        Builder::new_multi_thread().worker_threads(threads).thread_stack_size(STACK_BYTES).enable_all().build()?;
    let end = runtime.block_on(program);
    // A read of standard input may wait for ever.
    runtime.shutdown_background();
    end
}

/// Runs a part of a cluster on so many threads. It is killed when the program that started it ends.
pub fn as_part(threads: usize, part: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    as_program(threads, part)
}
