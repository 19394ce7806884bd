//! Results as a Markdown table and as JSON.

use std::fmt::Write;

use serde::Serialize;

/// One row of a comparison.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// Median of Tandem's times.
    pub(crate) tandem_ms: f64,
    /// Median of the peer's times.
    pub(crate) peer_ms: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.tandem_ms / self.peer_ms
    }
}

/// A whole comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The command line that made it.
    pub(crate) command: String,
    /// Processor and cores.
    pub(crate) machine: String,
    /// Tandem's version.
    pub(crate) version: &'static str,
    /// What Tandem is compared with.
    pub(crate) peer: String,
    /// One per query.
    pub(crate) rows: Vec<Row>,
    /// Most memory that each worker ever had resident.
    pub(crate) worker_peak_bytes: Vec<u64>,
}

impl Report {
    pub(crate) fn new(peer: &str, rows: Vec<Row>, worker_peak_bytes: Vec<u64>) -> Self {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self {
            command: format!("cargo run --release -p bench -- {command}"),
            machine: machine(),
            version: tandem::VERSION,
            peer: peer.to_owned(),
            rows,
            worker_peak_bytes,
        }
    }

    /// The table that goes into docs/performance.md.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("`{}` on {}, tandem {}\n\n", self.command, self.machine, self.version);
        let _ = writeln!(text, "| | tandem ms | {} ms | ratio |\n|---|---|---|---|", self.peer);
        let total = Row {
            name: "total".to_owned(),
            tandem_ms: self.rows.iter().map(|row| row.tandem_ms).sum(),
            peer_ms: self.rows.iter().map(|row| row.peer_ms).sum(),
        };
        for row in self.rows.iter().chain([&total]) {
            let _ = writeln!(text, "| {} | {:.0} | {:.0} | {:.2} |", row.name, row.tandem_ms, row.peer_ms, row.ratio());
        }
        let peaks: Vec<String> = self.worker_peak_bytes.iter().map(|bytes| format!("{} MiB", bytes >> 20)).collect();
        let _ = writeln!(text, "\nPeak memory of the workers: {}.", peaks.join(", "));
        text
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    format!("{cores} cores of {}", model.trim_start_matches([' ', '\t', ':']))
}

/// The middle of some times, in milliseconds.
pub(crate) fn median(mut times_ms: Vec<f64>) -> f64 {
    times_ms.sort_by(f64::total_cmp);
    times_ms.get(times_ms.len() / 2).copied().unwrap_or(f64::NAN)
}
