//! The processes of a local cluster: how each is started, watched and ended. Every child dies with its supervisor.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::cluster::JobSpan;
use super::folder::StateFolder;
use super::listeners::Listeners;
use super::shape::ClusterShape;

/// What a child is told about its supervisor, see [`follow_supervisor`].
const SUPERVISOR_FLAG: &str = "--supervisor-pid";

/// Which process of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Role {
    Coordinator,
    /// Counted from 1.
    Worker(u32),
}

impl Role {
    /// The name of its log and, of a worker, its name in the cluster.
    pub(super) fn name(self) -> String {
        match self {
            Self::Coordinator => "coordinator".to_owned(),
            Self::Worker(number) => format!("worker-{number}"),
        }
    }
}

/// How a child is ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Asked to leave.
    Terminate,
    /// Not asked.
    Kill,
}

/// A child that was started and is being watched.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: u32,
    endings: mpsc::UnboundedSender<Ending>,
}

impl Running {
    /// Ends the child. Its exit is reported as any other.
    pub(super) fn end(&self, how: Ending) {
        // A watcher that is gone has seen the child's end already.
        let _ = self.endings.send(how);
    }
}

/// Starts a child and watches it; `exited` is told when it is gone. Call on the process's main thread: the
/// kernel takes the end of the thread that started a child for the end of its parent.
pub(super) fn start(
    mut command: Command,
    exited: impl FnOnce(io::Result<ExitStatus>) + Send + 'static,
) -> io::Result<Running> {
    let child = command.spawn()?;
    let pid = child.id().ok_or_else(|| io::Error::other("the process ended before it was watched"))?;
    let (endings, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move { exited(watch(child, asked).await) });
    Ok(Running { pid, endings })
}

async fn watch(mut child: Child, mut asked: mpsc::UnboundedReceiver<Ending>) -> io::Result<ExitStatus> {
    loop {
        tokio::select! {
            status = child.wait() => return status,
            how = asked.recv() => match how {
                // Without its supervisor nobody needs it.
                None | Some(Ending::Kill) => {
                    child.start_kill()?;
                    return child.wait().await;
                }
                Some(Ending::Terminate) => terminate(&child)?,
            },
        }
    }
}

fn terminate(child: &Child) -> io::Result<()> {
    // Not yet waited for, so its id cannot be anybody else's.
    match child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        Some(pid) => kill_process(pid, Signal::TERM).map_err(io::Error::from),
        None => Ok(()),
    }
}

/// Builds the command lines of one cluster's processes.
#[derive(Debug, Clone)]
pub(super) struct Commands {
    program: PathBuf,
    folder: StateFolder,
    address: String,
    shape: ClusterShape,
    span: JobSpan,
}

impl Commands {
    /// For the processes of the cluster in `folder`, whose coordinator is at `address`.
    pub(super) fn new(folder: StateFolder, address: String, shape: ClusterShape, span: JobSpan) -> io::Result<Self> {
        Ok(Self { program: std::env::current_exe()?, folder, address, shape, span })
    }

    /// The command that starts the coordinator. `first` tells that no worker is there yet: those of an earlier cluster died
    /// with its supervisor.
    pub(super) fn coordinator(&self, listeners: &Listeners, first: bool) -> io::Result<Command> {
        let mut command = self.process(Role::Coordinator)?;
        command.args(["coordinator", "--inherit-listeners"]);
        command.arg("--data-dir").arg(self.folder.journal());
        command.arg("--token-file").arg(self.folder.token_file());
        command.args(["--expect-slots", &self.shape.slots().to_string()]);
        if first {
            command.arg("--workers-gone");
        }
        if self.span == JobSpan::Cluster {
            command.arg("--stop-jobs");
        }
        command.arg(SUPERVISOR_FLAG).arg(std::process::id().to_string());
        let (grpc, http) = listeners.for_child()?;
        command.stdin(grpc).stdout(http);
        Ok(command)
    }

    /// The command that starts one worker.
    pub(super) fn worker(&self, number: u32) -> io::Result<Command> {
        let mut command = self.process(Role::Worker(number))?;
        command.args(["worker", "--coordinator", &self.address]);
        command.args(["--name", &Role::Worker(number).name()]);
        command.args(["--cpus", &self.shape.cpus.to_string()]);
        command.args(["--memory", &self.shape.memory_bytes.to_string()]);
        command.args(self.shape.worker_flags());
        command.arg("--spill-dir").arg(self.folder.spill());
        command.arg("--token-file").arg(self.folder.token_file());
        command.arg(SUPERVISOR_FLAG).arg(std::process::id().to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }

    /// A process of its own group, so that Ctrl-C reaches the supervisor alone, that logs to its own file.
    fn process(&self, role: Role) -> io::Result<Command> {
        let log = self.log_file(role);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.program);
        command.stderr(log).process_group(0).kill_on_drop(true);
        // Settings of the user's commands are not for the processes of the cluster.
        for variable in ["TANDEM_ADDRESS", "TANDEM_TOKEN_FILE", "TANDEM_TLS_CA", "TANDEM_TIMEOUT", "TANDEM_CONFIG"] {
            command.env_remove(variable);
        }
        Ok(command)
    }

    /// Where a process logs.
    pub(super) fn log_file(&self, role: Role) -> PathBuf {
        self.folder.logs().join(format!("{}.log", role.name()))
    }
}

/// Makes this process die with the supervisor that started it. Refuses to live on if that is gone already.
pub(crate) fn follow_supervisor(supervisor_pid: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent.and_then(|pid| u32::try_from(pid).ok()) == Some(supervisor_pid) {
        Ok(())
    } else {
        Err(io::Error::other("the supervisor that started this process is gone"))
    }
}
