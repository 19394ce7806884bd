//! The processes of an engine's cluster: this program again, as one of its parts. They end with it, however it ends.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use tempfile::TempDir;

/// Where everything listens.
pub const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// Killed when dropped; then its folder is removed.
#[derive(Debug)]
pub struct Cluster {
    processes: Vec<Child>,
    folder: TempDir,
}

impl Cluster {
    /// No process yet.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self { processes: Vec::new(), folder: tempfile::Builder::new().prefix("bench-engines-").tempdir()? })
    }

    /// For what the processes put on disk.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a process, and returns what it says.
    pub fn start(&mut self, part: &[&str]) -> anyhow::Result<ChildStdout> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(part).env("TMPDIR", self.folder()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?} cannot be started"))?;
        let said = child.stdout.take().context("a child without standard output")?;
        self.processes.push(child);
        Ok(said)
    }

    /// Refuses to go on without a process that was started.
    pub fn is_whole(&mut self) -> anyhow::Result<()> {
        for process in &mut self.processes {
            let ended = process.try_wait()?;
            ensure!(ended.is_none(), "process {} of the cluster ended, see above: {ended:?}", process.id());
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Gone already is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ports that nobody listens on, for servers that cannot choose one themselves.
pub fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // All are held until all are chosen, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind((LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(listeners.iter()) {
        *port = listener.as_ref().map_err(|error| anyhow::anyhow!("no free port: {error}"))?.local_addr()?.port();
    }
    Ok(ports)
}
