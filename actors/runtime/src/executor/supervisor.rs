//! Owns one process from its start until nothing of it is left.
//! Invariants: the desk hears of a start once, and after a good one of the end once, behind all that the process said; when it
//! hears of the end, the process and all it had started are gone.
//!
//!   starting ─► running ─(asked, or too much of something)─► ending ─► ended ─► nothing left ─► told

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::Signal;
use tandem_actor_protocol::{ExecutorId, JobId};
use tandem_frames::{ChildEnd, FrameReceiver, FrameWriter};
use tandem_node::{Event, ExecutorNeeds, ExitCause};
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info};

use super::environment::{environment, executor_of};
use super::mask::Mask;
use super::orders::{Order, Orders};
use super::outbox::Pump;
use super::printed::Printed;
use super::printer::Printer;
use super::process::Process;
use super::reader::Reader;
use super::spawner::Spawner;
use super::speaker::Speaker;
use crate::cgroup::{Cgroups, Child, ChildLimits};
use crate::config::RuntimeConfig;
use crate::folders::Folders;
use crate::inbox::Inbound;
use crate::outside::{JobProgram, LogStream, Outside};
use crate::watch::{Watch, Watched};

/// Between the signal that a process can catch and the one that it cannot.
const TERMINATE_GRACE: Duration = Duration::from_secs(1);
/// How long the end of a process may wait for what it has printed to be taken.
const PRINT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the rest of what a gone process said may take to arrive.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The system counts threads where there is a limit for processes: so many for each are enough for any.
const THREADS_PER_PROCESS: u64 = 64;

/// What all executors of a runtime share.
pub(crate) struct Surroundings {
    pub(crate) config: RuntimeConfig,
    pub(crate) outside: Arc<dyn Outside>,
    pub(crate) folders: Folders,
    pub(crate) watch: Watch,
    pub(crate) spawner: Spawner,
    /// Where executors can have some of their own.
    pub(crate) cgroups: Option<Arc<Cgroups>>,
    /// Where what executors say goes, in the order in which they take turns.
    pub(crate) desk: mpsc::Sender<Inbound>,
}

/// See the module's header.
pub(crate) struct Supervisor {
    pub(crate) executor: ExecutorId,
    pub(crate) job: JobId,
    pub(crate) needs: ExecutorNeeds,
    pub(crate) surroundings: Arc<Surroundings>,
    /// Until the process has it.
    pub(crate) child_end: Option<ChildEnd>,
    pub(crate) frames: FrameReceiver,
    pub(crate) writer: FrameWriter,
    pub(crate) pump: Pump,
    pub(crate) speaker: Arc<Speaker>,
    pub(crate) orders: Orders,
    pub(crate) ordered: UnboundedReceiver<Order>,
    /// For the desk, which tells the process.
    pub(crate) job_name: Arc<OnceLock<String>>,
}

/// A process that was started.
struct Started {
    process: Process,
    printers: [Printer; 2],
    mask: Mask,
}

/// The task that reads the link, until its result is known.
type Reading = Option<AbortOnDropHandle<Result<(), String>>>;

/// Its result, once.
async fn ended(reading: &mut Reading) -> Result<(), String> {
    let Some(task) = reading else { return Ok(()) };
    let outcome = task.await;
    *reading = None;
    outcome.unwrap_or_else(|error| Err(format!("its link cannot be read: {error}")))
}

impl Supervisor {
    /// Runs the process to its end.
    pub(crate) async fn run(mut self) {
        let started = match self.start_unless_stopped().await {
            Ok(started) => started,
            Err(reason) => {
                info!(executor = self.executor.0, job = %self.job, reason, "an executor could not be started");
                return self.tell(Event::ExecutorStarted { executor: self.executor, outcome: Err(reason) }).await;
            }
        };
        debug!(executor = self.executor.0, job = %self.job, purpose = self.needs.purpose, pid = started.process.pid(), "executor started");
        self.tell(Event::ExecutorStarted { executor: self.executor, outcome: Ok(started.process.pid()) }).await;
        self.supervise(started).await;
    }

    async fn supervise(self, started: Started) {
        let Started { process, printers, mask } = started;
        let Self { executor, job, surroundings, frames, writer, pump, speaker, mut ordered, .. } = self;
        let hello = Arc::new(Notify::new());
        let desk = surroundings.desk.clone();
        let reader = Reader { executor, frames, speaker, mask, desk, hello: Arc::clone(&hello) };
        let mut reading = Some(AbortOnDropHandle::new(tokio::spawn(reader.run())));
        let pumping = AbortOnDropHandle::new(tokio::spawn(pump.run()));
        let mut printing: JoinSet<()> = printers.into_iter().map(Printer::run).collect();

        let config = &surroundings.config;
        let mut end = End::new(config.hello_timeout, config.stop_grace);
        let cause = end.wait(&process, &hello, &mut reading, &mut ordered).await;
        process.signal_group(Signal::KILL);
        let overrun = surroundings.watch.end(executor).await;
        let status = process.reap();
        // What the system does is seen in other ways too, such as a link that breaks off.
        let cause = overrun.or(cause).unwrap_or_else(|| exit_cause(&status));
        if tokio::time::timeout(DRAIN_TIMEOUT, ended(&mut reading)).await.is_err() {
            debug!(executor = executor.0, "the link of a gone process stays open");
        }
        drop((reading, pumping, writer));
        debug!(executor = executor.0, %job, ?cause, "executor ended");
        let printed = async { while printing.join_next().await.is_some() {} };
        // So that its last words come before the news of its end, unless nobody takes them.
        let _ = tokio::time::timeout(PRINT_TIMEOUT, printed).await;
        // Without a desk nobody has to know.
        let _ = surroundings.desk.send(Inbound::Gone(executor, cause)).await;
        while printing.join_next().await.is_some() {}
    }

    async fn start_unless_stopped(&mut self) -> Result<Started, String> {
        let mut ordered = std::mem::replace(&mut self.ordered, Orders::channel().1);
        let started = tokio::select! {
            biased;
            _ = ordered.recv() => Err("it was stopped before it had started".to_owned()),
            started = self.start() => started,
        };
        self.ordered = ordered;
        started
    }

    async fn start(&mut self) -> Result<Started, String> {
        let program = self.surroundings.outside.program(self.job).await?;
        // Set again, it is the same.
        let _ = self.job_name.set(program.job_name.clone());
        let surroundings = Arc::clone(&self.surroundings);
        let Surroundings { config, watch, .. } = &*surroundings;
        let limit_bytes = if self.needs.memory_bytes > 0 { self.needs.memory_bytes } else { config.slot_memory_bytes };
        let cgroup = self.cgroup(limit_bytes).await;
        let mut process = self
            .spawn(&program)
            .await
            .map_err(|error| format!("cannot start {}: {error}", program.executable.display()))?;
        let cgroup = cgroup.filter(|cgroup| self.holds(cgroup, &process));
        let outputs = process.take_outputs();
        let mask = Mask::new(&program);
        let printers = self.printers(&mask, outputs).map_err(|error| format!("no pipes for its output: {error}"))?;
        let of = executor_of(config.worker, self.executor);
        watch.add(self.executor, Watched::new(process.birth(), of, limit_bytes, self.orders.clone(), cgroup));
        Ok(Started { process, printers, mask })
    }

    /// A cgroup for the process, where there can be one. What of its arena is first written by its processes counts as theirs there, so
    /// the system ends them only beyond that; what they may take of their own is watched.
    async fn cgroup(&self, limit_bytes: u64) -> Option<Child> {
        let Surroundings { config, cgroups, .. } = &*self.surroundings;
        let cgroups = Arc::clone(cgroups.as_ref()?);
        let limits = ChildLimits {
            memory_bytes: (limit_bytes > 0).then(|| limit_bytes.saturating_add(config.arena_bytes)),
            threads: config.max_processes as u64 * THREADS_PER_PROCESS,
        };
        let executor = self.executor.0;
        tokio::task::spawn_blocking(move || cgroups.child(executor, limits)).await.ok()?
    }

    /// Moves the process into its cgroup before it has done anything.
    fn holds(&self, cgroup: &Child, process: &Process) -> bool {
        let entered = cgroup.enter(process.pid());
        if let Err(error) = &entered {
            debug!(executor = self.executor.0, %error, "an executor could not be moved to its cgroup");
        }
        entered.is_ok()
    }

    async fn spawn(&mut self, program: &JobProgram) -> io::Result<Process> {
        let Surroundings { config, folders, watch, spawner, .. } = &*self.surroundings;
        let child_end = self.child_end.take().ok_or(io::ErrorKind::NotConnected)?;
        let folder = folders.of(self.job)?;
        let of = executor_of(config.worker, self.executor);
        let variables = environment(program, &self.needs, &config.environment, &folder, std::env::var_os("PATH"), &of);
        let mut command = Command::new(&program.executable);
        command.env_clear().envs(variables).current_dir(folder);
        command.stdin(child_end).stdout(Stdio::piped()).stderr(Stdio::piped());
        Process::watch(spawner.spawn(command).await?, watch.leaders())
    }

    fn printers(&self, mask: &Mask, outputs: [Option<OwnedFd>; 2]) -> io::Result<[Printer; 2]> {
        let [stdout, stderr] = outputs;
        let open = |output: Option<OwnedFd>| {
            let pipe = pipe::Receiver::from_owned_fd(output.ok_or(io::ErrorKind::NotFound)?)?;
            Ok::<_, io::Error>(Arc::new(Printed::new(pipe)))
        };
        let pipes = [open(stdout)?, open(stderr)?];
        self.speaker.started(pipes.clone());
        let [stdout, stderr] = pipes;
        let printer = |stream, printed| Printer {
            job: self.job,
            stream,
            printed,
            mask: mask.clone(),
            outside: Arc::clone(&self.surroundings.outside),
        };
        Ok([printer(LogStream::Stdout, stdout), printer(LogStream::Stderr, stderr)])
    }

    async fn tell(&self, event: Event) {
        // Without a desk nobody has to know.
        let _ = self.surroundings.desk.send(Inbound::Event(event)).await;
    }
}

/// How a process comes to its end.
struct End {
    /// Why it is being ended; none if it ends by itself.
    cause: Option<ExitCause>,
    /// What happens when.
    next: Step,
    at: Instant,
    grace: Duration,
}

/// What happens to a process at a deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It has not said hello: it is killed.
    Hello,
    /// Nothing.
    Nothing,
    /// It was asked to end, or has ended its link: it is told by a signal.
    Terminate,
    /// It is killed.
    Kill,
}

impl End {
    fn new(hello_timeout: Duration, grace: Duration) -> Self {
        Self { cause: None, next: Step::Hello, at: Instant::now() + hello_timeout, grace }
    }

    /// Waits until the process has ended, and makes it end when it must. Returns why it was ended.
    async fn wait(
        &mut self,
        process: &Process,
        hello: &Notify,
        reading: &mut Reading,
        ordered: &mut UnboundedReceiver<Order>,
    ) -> Option<ExitCause> {
        let mut link_open = true;
        loop {
            tokio::select! {
                () = process.exited() => return self.cause.take(),
                order = ordered.recv() => self.order(order, process),
                () = hello.notified(), if self.next == Step::Hello => self.next = Step::Nothing,
                outcome = ended(reading), if link_open => {
                    link_open = false;
                    self.link_ended(outcome, process);
                }
                () = tokio::time::sleep_until(self.at), if self.next != Step::Nothing => self.step(process),
            }
        }
    }

    fn order(&mut self, order: Option<Order>, process: &Process) {
        match order {
            Some(Order::End) => self.end(ExitCause::Asked),
            Some(Order::Kill(cause)) => self.kill(cause, process),
            None => self.kill(ExitCause::Asked, process),
        }
    }

    fn link_ended(&mut self, outcome: Result<(), String>, process: &Process) {
        match outcome {
            Ok(()) if self.cause.is_none() => self.wait_for_exit(),
            Ok(()) => {}
            Err(reason) => self.kill(ExitCause::Protocol(reason), process),
        }
    }

    /// It will exit, or hangs: its link is closed.
    fn wait_for_exit(&mut self) {
        (self.next, self.at) = (Step::Terminate, Instant::now() + self.grace);
    }

    fn end(&mut self, cause: ExitCause) {
        if self.cause.is_none() {
            self.cause = Some(cause);
            self.wait_for_exit();
        }
    }

    fn kill(&mut self, cause: ExitCause, process: &Process) {
        self.cause.get_or_insert(cause);
        self.next = Step::Nothing;
        process.signal_group(Signal::KILL);
    }

    fn step(&mut self, process: &Process) {
        match self.next {
            Step::Hello => self.kill(ExitCause::Silent, process),
            Step::Nothing => {}
            Step::Terminate => {
                self.cause.get_or_insert_with(|| ExitCause::Protocol("it ended its link and went on".to_owned()));
                process.signal_group(Signal::TERM);
                (self.next, self.at) = (Step::Kill, Instant::now() + TERMINATE_GRACE);
            }
            Step::Kill => self.kill(ExitCause::Asked, process),
        }
    }
}

fn exit_cause(status: &io::Result<ExitStatus>) -> ExitCause {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => ExitCause::Exited(code),
            (None, Some(signal)) => ExitCause::Signalled(signal),
            (None, None) => ExitCause::Exited(-1),
        },
        Err(error) => ExitCause::Protocol(format!("how it ended is not known: {error}")),
    }
}
