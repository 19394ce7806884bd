//! A process of a job: it says hello, learns what it is there for, and does that until its worker ends it or is gone.

mod attempt;
mod driver;
mod ends;
mod environment;
mod host;
mod link;
mod panics;
mod start;
mod tasks;
mod watchdog;
mod work;

use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, LazyLock, OnceLock};

use tandem_actor_protocol::executor::Role;
use tandem_actor_protocol::failure::Failure;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::calls::{self, Call};
use crate::getting::Flushing;
use crate::process::Process;
use attempt::Attempt;

pub use driver::{Driver, require};
#[cfg(feature = "client")]
pub(crate) use link::hear;
pub(crate) use panics::message as panic_message;
#[cfg(feature = "client")]
pub(crate) use start::join;
pub(crate) use work::WorkQueue;

/// What a program does in place of its main function.
pub fn main(main: Driver) -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "--list") {
        crate::registry::names().iter().for_each(|name| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    match start::start() {
        Ok(started) => match run(main, &started) {
            // How a driver ended was told to the worker.
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot start threads: {error}");
                ExitCode::FAILURE
            }
        },
        #[cfg(feature = "client")]
        Err(start::StartError::ByHand { .. }) => crate::client::main(main),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Does what the process is there for. Says how a driver ended.
pub(crate) fn run(main: Driver, process: &Arc<Process>) -> io::Result<Result<(), Failure>> {
    panics::note_places();
    let role = process.welcome().role.clone();
    let runtime = match role {
        Role::Driver { .. } => Builder::new_multi_thread().enable_all().build(),
        Role::Tasks | Role::Actor | Role::LightActors => Builder::new_current_thread().enable_all().build(),
    };
    let started = runtime?;
    let runtime = RUNTIME.get_or_init(|| started);
    let outcome = match role {
        Role::Driver { args } => driver::run(process, runtime, main, args),
        Role::Tasks => {
            tasks::run(process, runtime);
            Ok(())
        }
        Role::Actor => {
            host::run_one(process, runtime);
            Ok(())
        }
        Role::LightActors => {
            host::run_many(process, runtime);
            Ok(())
        }
    };
    // The worker ends this process when it has read the last message; until then it must not.
    process.transport().flush();
    while process.work().next().is_some() {}
    ends::flush_output();
    process.transport().flush();
    Ok(outcome)
}

/// The runtime of this process.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// One with a thread of its own, if there can be one, made when it is needed first.
static TIMERS: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let threads = Builder::new_multi_thread().worker_threads(1).thread_name("tandem-timers").enable_all().build();
    threads.ok()
});

/// Waits for a future on a thread that may block.
pub(crate) fn block_on<T>(
    process: &Arc<Process>,
    call: Option<Arc<Call>>,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let process = Arc::clone(process);
    match call {
        Some(call) => {
            let on_own_thread = calls::current().is_some();
            let attempt = async {
                let attempt = Attempt::new(process, call, None, future);
                let attempt = if on_own_thread { attempt } else { attempt.among_others() }.await;
                attempt.unwrap_or_else(|why| Err(ends::ended(why, None)))
            };
            if on_own_thread { wait(attempt) } else { wait_apart(attempt) }
        }
        None => wait(async { Flushing { process, future: Box::pin(future) }.await }),
    }
}

/// Waits in the runtime of this process. A thread that is in a runtime may not enter one again.
fn wait<T>(future: impl Future<Output = T>) -> T {
    match RUNTIME.get() {
        Some(runtime) if Handle::try_current().is_err() => runtime.block_on(future),
        _ => wait_apart(future),
    }
}

/// Waits where timers go on, whatever holds up the runtime of this process, such as this thread.
fn wait_apart<T>(future: impl Future<Output = T>) -> T {
    let _timers = TIMERS.as_ref().map(Runtime::enter);
    futures::executor::block_on(future)
}
