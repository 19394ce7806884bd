//! Processes seen from outside: how long one takes and how much memory it and everything it starts hold.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};

/// Looking at memory may take this part of the time, so that it does not change what it looks at.
const SAMPLING_SHARE: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);

/// How one run of a program went.
#[derive(Debug)]
pub(crate) struct Ran {
    /// From its start to its end.
    pub(crate) seconds: f64,
    /// The most memory that it and its descendants held at once: the sum of their proportional set sizes.
    pub(crate) peak_bytes: u64,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
}

/// Runs a program to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<Ran> {
    let start = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} cannot be started"))?;
    let sampler = Sampler::start(child.id());
    let output = child.wait_with_output()?;
    let seconds = start.elapsed().as_secs_f64();
    let peak_bytes = sampler.stop()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(Ran { seconds, peak_bytes, stdout: String::from_utf8(output.stdout)? })
}

/// Runs a program to its end, and says how many seconds it took until its first line.
pub(crate) fn first_line(command: &mut Command) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("a child without standard output")?).lines();
    let line = lines.next();
    let seconds = start.elapsed().as_secs_f64();
    lines.by_ref().for_each(drop);
    let status = child.wait()?;
    ensure!(status.success() && line.is_some(), "{command:?} ended with {status}");
    Ok(seconds)
}

/// Watches the memory of a process and all its descendants, until it is told to stop.
pub(crate) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl Sampler {
    pub(crate) fn start(root: u32) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut peak = 0_u64;
            loop {
                let start = Instant::now();
                peak = peak.max(family(root).into_iter().filter_map(proportional_bytes).sum::<u64>());
                let pause = (start.elapsed() * SAMPLING_SHARE).max(SHORTEST_PAUSE);
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return peak;
                }
            }
        });
        Self { stop, thread }
    }

    /// The most bytes they held at once.
    pub(crate) fn stop(self) -> anyhow::Result<u64> {
        drop(self.stop);
        self.thread.join().map_err(|_| anyhow!("looking at memory panicked"))
    }
}

/// A process and all its descendants.
fn family(root: u32) -> HashSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in all() {
        if let Some(parent) = stat(pid).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::from([root]);
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found
}

fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Processes whose environment names `folder`.
pub(crate) fn living_in(folder: &Path) -> Vec<u32> {
    let folder = folder.display().to_string();
    let names_it = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&folder)
    };
    all().filter(names_it).collect()
}

/// The fields of `/proc/PID/stat` after the name, the state first; none when the process is gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(ToOwned::to_owned).collect())
}

/// Processor time that a process has used, in ticks of 10 ms; none when it is gone.
pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
    let fields = stat(pid)?;
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ticks(11)? + ticks(12)?)
}

/// Its memory, shared pages divided among their users; none when it is gone.
pub(crate) fn proportional_bytes(pid: u32) -> Option<u64> {
    kib_of(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

/// The most memory that a process or any of its descendants ever had resident, of those that are there.
pub(crate) fn peak_resident_bytes_in_family(root: u32) -> u64 {
    family(root).into_iter().filter_map(|pid| peak_resident_bytes(pid).ok()).max().unwrap_or_default()
}

/// The most memory that a process ever had resident.
pub(crate) fn peak_resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    kib_of(&status, "VmHWM:").context("a process without VmHWM")
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Sends a signal, such as `KILL`.
pub(crate) fn signal(name: &str, pid: u32) -> anyhow::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status()?;
    ensure!(status.success(), "{name} could not be sent to process {pid}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_children_counts() {
        let ran = run(Command::new("sh").args(["-c", "sleep 0.2 & wait; echo done"])).unwrap();
        assert_eq!(ran.stdout, "done\n");
        assert!(ran.peak_bytes > 0);
        assert!(ran.seconds >= 0.2);
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let error = run(Command::new("sh").args(["-c", "echo bad luck >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("bad luck"), "{error}");
    }
}
