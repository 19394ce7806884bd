//! Which processes there are, as `/proc` says, and which of them belong to an executor.

use std::collections::{HashMap, HashSet};
use std::fs;

/// A process and when it started, which no other one shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Birth {
    pub(crate) pid: i32,
    /// In ticks since the system started.
    pub(crate) start: u64,
}

/// What is known of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) birth: Birth,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// It has ended and waits to be reaped.
    pub(crate) zombie: bool,
}

/// All processes at one moment, as far as they can be seen.
#[derive(Debug, Default)]
pub(crate) struct Census {
    processes: HashMap<i32, Process>,
    children: HashMap<i32, Vec<i32>>,
}

impl Census {
    /// Reads `/proc`: a few microseconds for each process of the system.
    pub(crate) fn take() -> Self {
        let Ok(entries) = fs::read_dir("/proc") else { return Self::default() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter_map(read).collect()
    }

    /// The living processes of an executor: its group, what descends from it, and what did so at an earlier look, `known`, with
    /// what descends from that.
    pub(crate) fn members(&self, leader: Birth, known: &HashSet<Birth>) -> HashSet<Birth> {
        let root = |process: &&Process| {
            let birth = process.birth;
            birth == leader || known.contains(&birth) || (process.group == leader.pid && birth.start >= leader.start)
        };
        let mut open: Vec<i32> = self.processes.values().filter(root).map(|process| process.birth.pid).collect();
        let mut found = HashSet::new();
        while let Some(pid) = open.pop() {
            let Some(process) = self.processes.get(&pid) else { continue };
            if found.insert(process.birth) {
                open.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        found.retain(|birth| !self.processes[&birth.pid].zombie);
        found
    }

    /// The children of `parent`.
    pub(crate) fn children(&self, parent: i32) -> impl Iterator<Item = &Process> {
        self.children.get(&parent).into_iter().flatten().filter_map(|pid| self.processes.get(pid))
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }
}

impl FromIterator<Process> for Census {
    fn from_iter<T: IntoIterator<Item = Process>>(processes: T) -> Self {
        let mut census = Self::default();
        for process in processes {
            census.children.entry(process.parent).or_default().push(process.birth.pid);
            census.processes.insert(process.birth.pid, process);
        }
        census
    }
}

/// One process; none if it is gone.
pub(crate) fn read(pid: i32) -> Option<Process> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Memory that only this process has, in bytes: what it shares, such as arenas, is counted elsewhere.
pub(crate) fn own_memory_bytes(pid: i32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    parse_statm(&statm).unwrap_or(0) * rustix::param::page_size() as u64
}

/// A variable that the process was started with.
pub(crate) fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entries = environment.split(|byte| *byte == 0);
    let mut values = entries.filter_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next().map(|value| String::from_utf8_lossy(value).into_owned())
}

/// Fields 1, 3, 4, 5 and 22; the name in field 2 may hold blanks and brackets.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, after_name) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().take(20).collect();
    Some(Process {
        birth: Birth { pid: pid.parse().ok()?, start: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        zombie: matches!(fields[0], "Z" | "X"),
    })
}

/// Resident pages that are not shared.
fn parse_statm(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().skip(1);
    let resident: u64 = fields.next()?.parse().ok()?;
    let shared: u64 = fields.next()?.parse().ok()?;
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, group: i32) -> Process {
        Process { birth: Birth { pid, start: pid as u64 }, parent, group, zombie: false }
    }

    fn members(census: &Census, known: &[Birth]) -> Vec<i32> {
        let leader = Birth { pid: 10, start: 10 };
        let mut pids: Vec<i32> =
            census.members(leader, &known.iter().copied().collect()).into_iter().map(|birth| birth.pid).collect();
        pids.sort_unstable();
        pids
    }

    #[test]
    fn members_are_the_group_and_its_descendants_and_those_seen_before() {
        let census: Census = [
            process(1, 0, 1),
            process(10, 1, 10),
            process(11, 10, 10),
            process(12, 11, 12),
            process(13, 1, 10),
            process(20, 1, 20),
            process(21, 20, 21),
            Process { zombie: true, ..process(14, 10, 10) },
            process(15, 14, 15),
        ]
        .into_iter()
        .collect();
        assert_eq!(members(&census, &[]), [10, 11, 12, 13, 15]);
        assert_eq!(members(&census, &[Birth { pid: 20, start: 20 }]), [10, 11, 12, 13, 15, 20, 21]);
        assert_eq!(members(&census, &[Birth { pid: 20, start: 19 }]), [10, 11, 12, 13, 15]);
    }

    #[test]
    fn fields_are_found_whatever_the_process_is_called() {
        let stat = "7 (a) b (c) Z 1 6 5 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 8 7";
        let expected = Process { birth: Birth { pid: 7, start: 99 }, parent: 1, group: 6, zombie: true };
        assert_eq!(parse_stat(stat), Some(expected));
        assert_eq!(parse_statm("100 30 10 1 0 9 0\n"), Some(20));
        for bad in ["", "7", "7 (x", "7 (x) S 1", "x (x) S 1 6 5 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99"] {
            assert_eq!(parse_stat(bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_is_found() {
        let pid = std::process::id() as i32;
        let census = Census::take();
        assert!(census.all().any(|process| process.birth.pid == pid && !process.zombie));
        assert!(own_memory_bytes(pid) > 0);
        assert_eq!(variable(pid, "PATH"), std::env::var("PATH").ok());
        assert_eq!(variable(pid, "PAT"), None);
    }
}
