//! What a measurement found, as a Markdown table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// What Tandem is called beside its peers.
pub(crate) const TANDEM: &str = "tandem";

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    Us,
    Ms,
    Seconds,
    Bytes,
    KiB,
    MiB,
    /// Millions of bytes per second.
    MbPerSecond,
    RowsPerSecond,
    /// Calls, or whatever is repeated.
    PerSecond,
    /// Billions of additions and multiplications per second.
    GflopPerSecond,
    Percent,
    Count,
    /// As a multiple of another number.
    Times,
    /// An error or a measure of quality.
    Score,
}

/// What must hold of a number to call the work done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Floor {
    AtLeast(f64),
    AtMost(f64),
}

/// One thing that was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// What the numbers count.
    pub(crate) unit: Unit,
    /// Tandem's number: the median of its rounds, unless the name says otherwise.
    pub(crate) tandem: f64,
    /// The peers' numbers, by name.
    pub(crate) peers: BTreeMap<String, f64>,
    /// What must hold of Tandem's number.
    pub(crate) floor: Option<Floor>,
}

/// Everything one run of a measurement found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What was measured, which also names its files.
    name: String,
    /// The command line that made it.
    command: String,
    /// Processor, cores and memory.
    machine: String,
    /// Version of Tandem and of each peer.
    versions: BTreeMap<String, String>,
    lines: Vec<Line>,
    /// What the numbers do not say by themselves.
    notes: Vec<String>,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Us if value < 10.0 => format!("{value:.1} µs"),
            Self::Us => format!("{value:.0} µs"),
            Self::Ms if value < 10.0 => format!("{value:.1} ms"),
            Self::Ms => format!("{value:.0} ms"),
            Self::Seconds => format!("{value:.2} s"),
            Self::Bytes => format!("{value:.0} bytes"),
            Self::KiB => format!("{value:.1} KiB"),
            Self::MiB => format!("{value:.0} MiB"),
            Self::MbPerSecond => format!("{value:.0} MB/s"),
            Self::RowsPerSecond => format!("{:.2} M rows/s", value / 1e6),
            Self::PerSecond if value >= 1e6 => format!("{:.2} M/s", value / 1e6),
            Self::PerSecond if value >= 1e4 => format!("{:.0} k/s", value / 1e3),
            Self::PerSecond if value >= 100.0 => format!("{value:.0}/s"),
            Self::PerSecond => format!("{value:.1}/s"),
            Self::GflopPerSecond => format!("{value:.0} GFLOP/s"),
            Self::Percent => format!("{value:.0} %"),
            Self::Count => format!("{value:.0}"),
            Self::Times => format!("{value:.2} ×"),
            Self::Score => format!("{value:.4}"),
        }
    }
}

impl Floor {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(floor) => value >= floor,
            Self::AtMost(floor) => value <= floor,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtLeast(floor) => format!("≥ {}", unit.show(floor)),
            Self::AtMost(floor) => format!("≤ {}", unit.show(floor)),
        }
    }
}

impl Line {
    /// A line about Tandem alone.
    pub(crate) fn of(name: impl Into<String>, unit: Unit, tandem: f64) -> Self {
        Self { name: name.into(), unit, tandem, peers: BTreeMap::new(), floor: None }
    }

    /// A line of everybody's numbers, by name.
    pub(crate) fn among(name: &str, unit: Unit, mut numbers: BTreeMap<String, f64>) -> anyhow::Result<Self> {
        let tandem = numbers.remove(TANDEM).with_context(|| format!("{name}: {TANDEM} was not measured"))?;
        Ok(Self { peers: numbers, ..Self::of(name, unit, tandem) })
    }

    /// A line of the medians of what everybody's rounds gave, by name.
    pub(crate) fn of_medians(
        name: &str,
        unit: Unit,
        rounds: impl IntoIterator<Item = (impl Into<String>, Vec<f64>)>,
    ) -> anyhow::Result<Self> {
        let medians = rounds.into_iter().map(|(who, numbers)| Ok((who.into(), median(numbers)?)));
        Self::among(name, unit, medians.collect::<anyhow::Result<_>>()?)
    }

    /// The same line, of which something must hold.
    pub(crate) fn with_floor(self, floor: Floor) -> Self {
        Self { floor: Some(floor), ..self }
    }

    /// A line that says how many times the peer's number Tandem's is, and must be at least; none without that peer.
    pub(crate) fn times(&self, peer: &str, floor: f64) -> Option<Self> {
        let ratio = self.ratio(peer)?;
        Some(Self::of(format!("… times {peer}"), Unit::Times, ratio).with_floor(Floor::AtLeast(floor)))
    }

    /// Tandem's number as a multiple of the peer's.
    pub(crate) fn ratio(&self, peer: &str) -> Option<f64> {
        self.peers.get(peer).map(|value| self.tandem / value)
    }
}

impl Report {
    pub(crate) fn new(name: &str) -> Self {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        Self {
            name: name.to_owned(),
            command: format!("cargo run --release -p bench -- {arguments}"),
            machine: machine(),
            versions: BTreeMap::from([(TANDEM.to_owned(), tandem::VERSION.to_owned())]),
            lines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A peer takes part.
    pub(crate) fn version(&mut self, peer: &str, version: &str) {
        self.versions.insert(peer.to_owned(), version.to_owned());
    }

    pub(crate) fn line(&mut self, line: Line) {
        self.lines.push(line);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Prints the table, and writes it and its JSON to `folder`.
    pub(crate) fn publish(&self, folder: &Path) -> anyhow::Result<()> {
        let markdown = self.markdown();
        std::fs::write(folder.join(format!("{}.md", self.name)), &markdown)?;
        std::fs::write(folder.join(format!("{}.json", self.name)), serde_json::to_vec_pretty(self)?)?;
        print!("{markdown}");
        Ok(())
    }

    fn markdown(&self) -> String {
        let versions: Vec<String> = self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let mut text = format!("`{}`\n\n{}; {}.\n\n", self.command, self.machine, versions.join(", "));
        let peers: Vec<&String> = self.versions.keys().filter(|name| *name != TANDEM).collect();
        let mut heads: Vec<String> = peers.iter().map(|peer| format!(" {peer} (ratio) |")).collect();
        let has_floors = self.lines.iter().any(|line| line.floor.is_some());
        heads.extend(has_floors.then(|| " floor |".to_owned()));
        let _ = writeln!(text, "| | tandem |{}\n|---|---|{}", heads.concat(), "---|".repeat(heads.len()));
        for line in &self.lines {
            let mut cells: Vec<String> = peers.iter().map(|peer| format!(" {} |", cell(line, peer))).collect();
            cells.extend(has_floors.then(|| format!(" {} |", floor(line))));
            let _ = writeln!(text, "| {} | {} |{}", line.name, line.unit.show(line.tandem), cells.concat());
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

fn cell(line: &Line, peer: &str) -> String {
    match (line.peers.get(peer), line.ratio(peer)) {
        (Some(value), Some(ratio)) => format!("{} ({ratio:.2})", line.unit.show(*value)),
        _ => "–".to_owned(),
    }
}

/// What must hold, and whether it does.
fn floor(line: &Line) -> String {
    line.floor.map_or_else(String::new, |floor| {
        let verdict = if floor.is_met(line.tandem) { "met" } else { "not met" };
        format!("{}: {verdict}", floor.show(line.unit))
    })
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let kib: Option<u64> = field("/proc/meminfo", "MemTotal").and_then(|text| text.strip_suffix(" kB")?.parse().ok());
    let memory = kib.map_or_else(|| "unknown".to_owned(), |kib| format!("{} GiB of", kib >> 20));
    format!("{cores} cores of {model}, {memory} memory")
}

/// The middle one of some numbers.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> anyhow::Result<f64> {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().context("nothing was measured")
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_each_peer_and_how_many_times_its_number_ours_is() {
        let mut report = Report::new("test");
        report.version("DuckDB", "2");
        let peers = BTreeMap::from([("DuckDB".to_owned(), 200.0)]);
        report.line(Line { peers, ..Line::of("q1", Unit::Ms, 300.0) });
        report.line(Line::of("memory", Unit::MiB, 12.0));
        let text = report.markdown();
        assert!(text.contains("| q1 | 300 ms | 200 ms (1.50) |\n"), "{text}");
        assert!(text.contains("| memory | 12 MiB | – |\n"), "{text}");
    }

    #[test]
    fn a_line_shows_what_must_hold_and_whether_it_does() {
        let mut report = Report::new("test");
        report.line(Line { floor: Some(Floor::AtLeast(100e3)), ..Line::of("calls", Unit::PerSecond, 99e3) });
        report.line(Line { floor: Some(Floor::AtMost(15.0)), ..Line::of("call", Unit::Us, 15.0) });
        report.line(Line::of("memory", Unit::KiB, 12.0));
        let text = report.markdown();
        assert!(text.contains("| calls | 99 k/s | ≥ 100 k/s: not met |\n"), "{text}");
        assert!(text.contains("| call | 15 µs | ≤ 15 µs: met |\n"), "{text}");
        assert!(text.contains("| memory | 12.0 KiB |  |\n"), "{text}");
    }

    #[test]
    fn a_multiple_of_a_peers_number_is_a_line_of_its_own() {
        let peers = BTreeMap::from([("LIBMF".to_owned(), 40e6)]);
        let line = Line { peers, ..Line::of("updates", Unit::PerSecond, 100e6) };
        let times = line.times("LIBMF", 2.4).unwrap();
        assert_eq!(
            (times.name.as_str(), times.tandem, floor(&times)),
            ("… times LIBMF", 2.5, "≥ 2.40 ×: met".to_owned())
        );
        assert!(line.times("scikit-surprise", 12.0).is_none());
    }

    #[test]
    fn the_median_of_nothing_is_an_error() {
        assert_eq!(median([3.0, 1.0, 2.0]).unwrap(), 2.0);
        assert!(median([]).is_err());
    }
}
