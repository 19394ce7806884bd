//! A program that was started by hand, as a client of a cluster: its executable becomes the package of a job whose driver runs
//! here, while tasks and actors run in processes of the cluster.
//!
//! ```text
//!   main thread: driver ─▶ Outbox ─▶ socket ─▶ bridge ══stream══▶ worker that stands for this process
//!   link thread: driver ◀───────── socket ◀─ bridge ◀═══════════
//! ```
//!
//! Invariant: the job ends when this process does; this process tells by its exit code how the job ended.

mod bridge;
mod ended;
mod session;

use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_frames::BlockingReceiver;
use tokio::runtime::Builder;

use crate::apart::Apart;
use crate::executor::{self, Driver};
use crate::memory::Memory;
use crate::process::Process;
use ended::Ended;
use session::Session;

/// Runs the program on a cluster, with its main function here.
pub(crate) fn main(driver: Driver) -> ExitCode {
    match run(driver) {
        Ok(()) => ExitCode::SUCCESS,
        Err(ended) => ended.report(),
    }
}

fn run(driver: Driver) -> Result<(), Ended> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("tandem-client").enable_all().build()?;
    let (session, stream) = runtime.block_on(Session::open(std::env::args().skip(1).collect()))?;
    let joined = executor::join(stream, |_| Memory::Apart(Apart::new()));
    let (process, receiver) = match joined {
        Ok(joined) => joined,
        // The job says why it was not welcome.
        Err(error) => return runtime.block_on(session.lost(lost(&error.to_string()))),
    };
    let listening = Arc::clone(&process);
    thread::Builder::new().name("tandem-link".to_owned()).spawn(move || listen(&listening, receiver))?;
    let outcome = executor::run(driver, &process)?;
    let lost = process.objects().lost().filter(|failure| failure.kind == FailureKind::WorkerLost);
    let ended = match lost {
        Some(failure) => runtime.block_on(session.lost(outcome.err().unwrap_or_else(|| Failure::clone(failure)))),
        None => runtime.block_on(session.end(outcome)),
    };
    runtime.shutdown_background();
    ended
}

/// Hears the worker out. When it is gone, or the job is over before the driver is, all that is waited for fails.
fn listen(process: &Arc<Process>, receiver: BlockingReceiver) {
    let deaf = Deaf(process);
    process.lose(match executor::hear(process, receiver) {
        Ok(()) => Failure::new(FailureKind::Cancelled, "", "the job has ended"),
        Err(error) => lost(&error.to_string()),
    });
    drop(deaf);
}

/// However the thread ends, nobody waits for what it will not hear.
struct Deaf<'a>(&'a Process);

impl Drop for Deaf<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lose(lost("what it said cannot be understood"));
        }
        self.0.work().close();
    }
}

fn lost(reason: &str) -> Failure {
    Failure::new(FailureKind::WorkerLost, "", format!("the connection to the cluster is lost: {reason}"))
}
