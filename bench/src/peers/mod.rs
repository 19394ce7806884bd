//! Peers that are programs of their own: small Python scripts in `bench/peers` over packages from PyPI, in a virtual
//! environment that is made once. A peer that cannot be had is skipped with a line that says so.

mod conversation;
mod peer;
mod scripts;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::report::Report;
pub(crate) use conversation::Conversation;
pub(crate) use peer::Peer;

/// The peers that can be had.
#[derive(Debug)]
pub(crate) struct Peers {
    tools: PathBuf,
    found: Vec<Peer>,
}

impl Peers {
    /// Gets the `wanted` peers, as far as they have a script for `work` and can be installed, and enters their versions in the report.
    pub(crate) fn prepare(work: &str, wanted: &[Peer], report: &mut Report) -> anyhow::Result<Self> {
        let tools = tools()?;
        let mut found = Vec::new();
        for peer in wanted.iter().copied() {
            match scripts::install(&tools, peer, &peer.program(work)) {
                Ok(()) => {
                    report.version(peer.name(), peer.version());
                    found.push(peer);
                }
                Err(error) => {
                    eprintln!("skipped: {}: {error:#}", peer.name());
                    report.note(format!("skipped: {}", peer.name()));
                }
            }
        }
        Ok(Self { tools, found })
    }

    pub(crate) fn found(&self) -> &[Peer] {
        &self.found
    }

    /// The peer's program for `work`, which may use `threads` cores.
    pub(crate) fn command(&self, peer: Peer, work: &str, threads: u32) -> Command {
        let mut command = scripts::command(&self.tools, &peer.program(work), threads);
        command.arg("--threads").arg(threads.to_string());
        command
    }
}

/// Beside the build that this program is of: `target/bench-tools`.
fn tools() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is not in a target folder")?;
    Ok(target.join("bench-tools"))
}
