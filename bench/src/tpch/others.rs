//! The peers that run in programs of their own. What one of them cannot answer is noted, and does not end the measurement.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::ensure;

use super::{ms_since, query_file};
use crate::peers::{Conversation, Peer, Peers};
use crate::process::peak_resident_bytes_in_family;

/// All that take part.
pub(super) struct Others(Vec<Other>);

struct Other {
    peer: Peer,
    conversation: Conversation,
    /// Queries that it could not answer, and why.
    failures: BTreeMap<u32, String>,
    /// The most that was ever resident in one of its processes.
    peak_bytes: u64,
}

impl Others {
    pub(super) fn start(peers: &Peers, data: &Path, threads: u32) -> anyhow::Result<Self> {
        let start = |peer: &Peer| {
            let mut command = peers.command(*peer, "tpch", threads);
            command.arg("--data").arg(data);
            let conversation = Conversation::start(command)?;
            Ok(Other { peer: *peer, conversation, failures: BTreeMap::new(), peak_bytes: 0 })
        };
        Ok(Self(peers.found().iter().map(start).collect::<anyhow::Result<_>>()?))
    }

    /// Asks each in turn that has not failed this query yet; returns how many milliseconds each took that gave as many `rows`.
    pub(super) fn round(&mut self, query: u32, rows: usize) -> Vec<(&'static str, f64)> {
        let mut times = Vec::new();
        for other in self.0.iter_mut().filter(|other| !other.failures.contains_key(&query)) {
            let name = other.peer.name();
            let start = Instant::now();
            let answer = other.ask(query, rows);
            match answer {
                Ok(()) => times.push((name, ms_since(start))),
                Err(error) => {
                    eprintln!("{name}: q{query} fails: {error:#}");
                    other.failures.insert(query, format!("{error:#}"));
                }
            }
            other.look_at_memory();
        }
        times
    }

    /// What could not be answered.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|other| {
            other.failures.iter().map(|(query, why)| format!("{}: q{query} fails: {why}", other.peer.name()))
        })
    }

    /// The most that was ever resident in one process of each.
    pub(super) fn peak_bytes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|other| (other.peer.name(), other.peak_bytes))
    }
}

impl Other {
    fn ask(&mut self, query: u32, rows: usize) -> anyhow::Result<()> {
        let got = self.conversation.rows(&query_file(query))?;
        ensure!(got == rows, "{got} rows, not {rows}");
        Ok(())
    }

    fn look_at_memory(&mut self) {
        let peak_bytes = self.conversation.pid().map(peak_resident_bytes_in_family);
        self.peak_bytes = self.peak_bytes.max(peak_bytes.unwrap_or_default());
    }
}
