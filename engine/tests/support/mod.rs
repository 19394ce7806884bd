//! What tests that drive the built binary share: a sandbox with folders of its own, so that no test sees another's cluster
//! or the user's settings, and that leaves nothing running.

// Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod duckdb;
pub mod http;
pub mod moto;
pub mod small_disk;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The binary under test.
pub const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");

/// How long a test waits for something that must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Folders of one test's own. Takes its cluster down when dropped.
pub struct Sandbox {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// One whose folders are below `parent`.
    pub fn inside(parent: &Path) -> Self {
        let folder = tempfile::tempdir_in(parent).expect("a temporary folder");
        for name in ["state", "config", "home", "work"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder in it");
        }
        Self { folder, environment: Vec::new() }
    }

    /// A sandbox with a local cluster.
    pub fn with_cluster(workers: u32) -> Self {
        let sandbox = Self::new();
        let workers = workers.to_string();
        sandbox.run(&["cluster", "up", "--workers", &workers, "--memory", "256MiB"]).succeeded();
        sandbox
    }

    /// The same, with variables for the commands from here on. A cluster that is up does not see them.
    pub fn with_environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Where commands run: relative paths start here.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state/tandem")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("config/tandem")
    }

    /// Writes a file to the working folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("its folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.work().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The command, ready to be changed or run.
    pub fn command(&self, args: &[&str]) -> Command {
        self.command_of(TANDEM, args)
    }

    /// The same for another program.
    pub fn command_of(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.work()).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path().join("home"));
        command.env("XDG_STATE_HOME", self.folder.path().join("state"));
        command.env("XDG_CONFIG_HOME", self.folder.path().join("config"));
        command.envs(self.environment.iter().cloned());
        command
    }

    pub fn run(&self, args: &[&str]) -> Finished {
        Finished::of(&mut self.command(args))
    }

    /// Processes whose environment or command line names this sandbox.
    pub fn processes(&self) -> Vec<u32> {
        let here = self.folder.path().to_str().expect("a UTF-8 path").to_owned();
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        entries
            .filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                let environment = std::fs::read(entry.path().join("environ")).ok()?;
                String::from_utf8_lossy(&environment).contains(&here).then_some(pid)
            })
            .collect()
    }

    /// Those of them that run functions and programs.
    pub fn executors(&self) -> Vec<u32> {
        let is_executor = |pid: &u32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(b"TANDEM_EXECUTOR="))
        };
        self.processes().into_iter().filter(is_executor).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let down = self.command(&["cluster", "down"]).output();
        if let (Ok(output), false) = (down, std::thread::panicking()) {
            assert!(output.status.success(), "the cluster could not be stopped: {output:?}");
            // The supervisor says that all is down just before its own end, and may still hold files.
            wait_for("the end of every process", || self.processes().is_empty());
        }
    }
}

impl Finished {
    pub fn of(command: &mut Command) -> Self {
        Self::from(command.output().expect("the binary runs"))
    }

    /// Itself, if the exit code is 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.ended_with(0)
    }

    /// Itself, if the exit code is `code`.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Itself, if it is one clear error: nothing on standard output, an `error:` line with `words`, no debug print.
    #[track_caller]
    pub fn tells(self, words: &[&str]) -> Self {
        assert_eq!(self.stdout, "", "an error prints no data");
        let error = self.stderr.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("no error line:\n{}", self.stderr));
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing:\n{}", self.stderr);
        }
        for mark in ["RUST_BACKTRACE", "panicked", "Error {", "Some(", "Err("] {
            assert!(!error.contains(mark), "a debug print: {error}");
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{}", self.stdout))
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A job that runs until it is stopped.
pub const ENDLESS_JOB: &str = r#"
name = "endless"
[[step]]
name = "pairs"
sql = "SELECT count(*) AS n FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value + b.value < 0"
[[sink]]
from = "pairs"
path = "out"
format = "csv"
"#;

/// Pairs that each piece of [`busy_query`] counts.
pub const PAIRS: u64 = 3000 * 30_000;

/// A query with a task for each of so many pieces, every one of which keeps a processor busy for a while and gives a
/// row with [`PAIRS`] as `pairs`.
pub fn busy_query(pieces: u32) -> String {
    let piece = |number| {
        format!(
            "SELECT count(*) AS pairs FROM generate_series(1, 3000) AS a, generate_series(1, 30000) AS b
             WHERE a.value * b.value > -{number}"
        )
    };
    (0..pieces).map(piece).collect::<Vec<_>>().join(" UNION ALL ")
}

/// Waits until `holds`, without a pause that could be too short.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not happen");
        std::thread::yield_now();
    }
}

/// The number in an environment variable, by which a person makes a test larger.
pub fn number_from(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

/// Sends a signal, such as `KILL`.
pub fn signal(name: &str, pid: impl std::fmt::Display) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "{name} to {pid}");
}

/// Kills a process that may have ended by itself.
pub fn kill_if_there(pid: u32) {
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
}

/// Files below `folder`, relative to it, sorted.
pub fn files_below(folder: &Path) -> Vec<String> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(root, &path, found);
            } else if let Ok(relative) = path.strip_prefix(root) {
                found.push(relative.display().to_string());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}
