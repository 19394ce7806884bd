//! Peers that are programs of their own: small Python scripts over packages from PyPI, and Rust programs over crates. All
//! are in `bench/peers` and made ready once. A peer that cannot be had is skipped with a line that says so.

mod conversation;
mod engines;
mod peer;
mod scripts;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::report::Report;
pub(crate) use conversation::{Conversation, Program};
use peer::Origin;
pub(crate) use peer::Peer;

/// The peers that can be had.
#[derive(Debug)]
pub(crate) struct Peers {
    tools: PathBuf,
    found: Vec<Peer>,
}

impl Peers {
    /// Gets the `wanted` peers, as far as they have a program for `work` and can be made ready, and enters their versions in the report.
    pub(crate) fn prepare(work: &str, wanted: &[Peer], report: &mut Report) -> anyhow::Result<Self> {
        let mut peers = Self { tools: tools()?, found: Vec::new() };
        for peer in wanted.iter().copied() {
            match peers.make_ready(peer, work) {
                Ok(()) => {
                    report.version(peer.name(), peer.version());
                    peers.found.push(peer);
                }
                Err(error) => {
                    eprintln!("skipped: {}: {error:#}", peer.name());
                    report.note(format!("skipped: {}", peer.name()));
                }
            }
        }
        Ok(peers)
    }

    pub(crate) fn found(&self) -> &[Peer] {
        &self.found
    }

    fn make_ready(&self, peer: Peer, work: &str) -> anyhow::Result<()> {
        let program = peer.program(work);
        match peer.origin() {
            Origin::Package(package) => scripts::install(&self.tools, peer, &package, &program),
            Origin::Crate(_) => engines::build(&self.tools, &program),
        }
    }

    /// The peer's program for `work`, which may use `threads` cores.
    pub(crate) fn command(&self, peer: Peer, work: &str, threads: u32) -> Command {
        let program = peer.program(work);
        let mut command = match peer.origin() {
            Origin::Package(_) => scripts::command(&self.tools, &program, threads),
            Origin::Crate(_) => Command::new(engines::binary(&self.tools, &program)),
        };
        command.arg("--threads").arg(threads.to_string());
        command
    }

    /// A script that makes something for peers' programs to work with.
    pub(crate) fn maker(&self, script: &str) -> anyhow::Result<Command> {
        scripts::add(&self.tools, scripts::pip(&self.tools), peer::MAKERS)?;
        Ok(scripts::command(&self.tools, script, 1))
    }
}

/// Beside the build that this program is of: `target/bench-tools`.
fn tools() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is not in a target folder")?;
    Ok(target.join("bench-tools"))
}
