//! Starting the supervisor of `cluster up` as a process of its own. It tells the command that started it, over its
//! standard output, in one line, that the cluster is ready or why it will not be; after that it has no terminal.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::folder::StateFolder;
use super::shape::ClusterShape;

/// How a detached start went.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Launched {
    /// The cluster is ready.
    Ready { address: String },
    /// It is not and nothing is left of it.
    Failed { message: String },
}

/// Starts a supervisor for a cluster of `shape` in `folder` and waits for its word.
pub(crate) fn launch(folder: &StateFolder, shape: &ClusterShape) -> io::Result<Launched> {
    let log = OpenOptions::new().create(true).append(true).open(folder.logs().join("supervisor.log"))?;
    let mut child = Command::new(std::env::current_exe()?)
        .args(["cluster", "supervise"])
        .args(["--workers", &shape.workers.to_string()])
        .args(["--cpus", &shape.cpus.to_string()])
        .args(["--memory", &shape.memory_bytes.to_string()])
        .args(shape.worker_flags())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let Some(stdout) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    if line.is_empty() {
        let status = child.wait()?;
        return Ok(Launched::Failed { message: format!("the supervisor ended with {status}") });
    }
    Ok(serde_json::from_str(&line)?)
}

/// The supervisor's side: says how the start went.
pub(crate) fn tell_launcher(launched: &Launched) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(launched)?)?;
    out.flush()
}
