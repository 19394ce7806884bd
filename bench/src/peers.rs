//! Peers that are programs of their own: small Python scripts in `bench/peers` over packages from PyPI, in a virtual
//! environment that is made once. A peer that cannot be had is skipped with a line that says so.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};
use clap::ValueEnum;

use crate::report::Report;

/// Engines to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    Duckdb,
    Polars,
    Spark,
    Ray,
}

impl Peer {
    /// As it is called in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "DuckDB",
            Self::Polars => "Polars",
            Self::Spark => "Spark",
            Self::Ray => "Ray",
        }
    }

    /// As it is called in the names of scripts.
    fn short_name(self) -> &'static str {
        match self {
            Self::Duckdb => "duckdb",
            Self::Polars => "polars",
            Self::Spark => "spark",
            Self::Ray => "ray",
        }
    }

    /// Package and version.
    fn package(self) -> (&'static str, &'static str) {
        match self {
            Self::Duckdb => ("duckdb", "2.0.0"),
            Self::Polars => ("polars", "2.1.0"),
            Self::Spark => ("pyspark", "4.3.0"),
            Self::Ray => ("ray[default]", "2.60.0"),
        }
    }

    /// Packages that its own does not bring.
    fn further_packages(self) -> &'static [&'static str] {
        if self == Self::Ray { &["numpy==2.4.6"] } else { &[] }
    }

    pub(crate) fn version(self) -> &'static str {
        self.package().1
    }

    fn script(self, work: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{work}_{}.py", self.short_name()))
    }
}

/// The peers that can be had.
#[derive(Debug)]
pub(crate) struct Peers {
    python: PathBuf,
    found: Vec<Peer>,
}

impl Peers {
    /// Gets the `wanted` peers, as far as they have a script for `work` and can be installed, and enters their versions in the report.
    pub(crate) fn prepare(work: &str, wanted: &[Peer], report: &mut Report) -> anyhow::Result<Self> {
        let tools = tools()?;
        let python = tools.join("bin/python");
        let mut found = Vec::new();
        for peer in wanted.iter().copied() {
            match install(&tools, peer, &peer.script(work)) {
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
        Ok(Self { python, found })
    }

    pub(crate) fn found(&self) -> &[Peer] {
        &self.found
    }

    /// The peer's program for `work`, which may use `threads` cores.
    pub(crate) fn command(&self, peer: Peer, work: &str, threads: u32) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(peer.script(work)).arg("--threads").arg(threads.to_string());
        // What must be known before a script can say it: Polars' threads, and where Spark listens.
        command.env("POLARS_MAX_THREADS", threads.to_string()).env("SPARK_LOCAL_IP", "127.0.0.1");
        command
    }
}

/// Beside the build that this program is of: `target/bench-tools`.
fn tools() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program is not in a target folder")?;
    Ok(target.join("bench-tools"))
}

fn install(tools: &Path, peer: Peer, script: &Path) -> anyhow::Result<()> {
    ensure!(script.exists(), "there is no {}", script.display());
    if peer == Peer::Spark {
        quietly(Command::new("java").arg("-version")).context("it needs Java")?;
    }
    if peer == Peer::Ray {
        quietly(Command::new("unshare").args(["--net", "true"])).context("it needs a network of its own")?;
    }
    let (package, version) = peer.package();
    let marker = tools.join(format!("{package}-{version}"));
    if marker.exists() {
        return Ok(());
    }
    eprintln!("installing {package} {version} in {}", tools.display());
    if !tools.join("bin/pip").exists() {
        quietly(Command::new("python3").args(["-m", "venv"]).arg(tools))?;
    }
    let mut pip = Command::new(tools.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", &format!("{package}=={version}")]);
    quietly(pip.args(peer.further_packages()))?;
    Ok(std::fs::write(marker, "")?)
}

fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim().lines().last().unwrap_or("it does not say why"));
    Ok(())
}

/// A peer's program that answers one line per line it is given. Killed when dropped.
pub(crate) struct Conversation {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Conversation {
    /// Starts the program and waits until it says `ready`.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().context("a child without standard input")?;
        let answers = BufReader::new(child.stdout.take().context("a child without standard output")?);
        let mut conversation = Self { child, questions, answers };
        let hello = conversation.answer()?;
        ensure!(hello == "ready", "{command:?} says `{hello}`");
        Ok(conversation)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        writeln!(self.questions, "{question}")?;
        self.answer()
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "the peer's program ended, see above");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
