//! The cgroup of one executor. Dropped, it is removed, and what is in it ended.

use std::fs;
use std::io;
use std::path::PathBuf;

use tracing::debug;

use super::{PROCESSES, field, is_populated, kill_all};

/// What the system lets an executor take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildLimits {
    /// Memory of any kind; none is no limit.
    pub(crate) memory_bytes: Option<u64>,
    /// Threads of all its processes.
    pub(crate) threads: u64,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Child {
    pub(super) folder: PathBuf,
}

impl Child {
    /// A new one, with nothing in it.
    pub(super) fn create(folder: PathBuf) -> io::Result<Self> {
        fs::create_dir(&folder)?;
        Ok(Self { folder })
    }

    /// Sets its limits. All of it is ended when there is too little memory for some of it.
    pub(super) fn limit(&self, limits: ChildLimits) -> io::Result<()> {
        let memory = limits.memory_bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        self.write("memory.max", &memory)?;
        self.write("memory.oom.group", "1")?;
        self.write("pids.max", &limits.threads.to_string())
    }

    /// Moves a process here. What it starts from then on is here too, and never elsewhere.
    pub(crate) fn enter(&self, pid: u32) -> io::Result<()> {
        self.write(PROCESSES, &pid.to_string())
    }

    /// Memory of its own that it takes: without what it shares, such as arenas, and without files that are kept in memory. None where the
    /// system does not tell.
    pub(crate) fn own_memory_bytes(&self) -> Option<u64> {
        field(&self.read("memory.stat")?, "anon")
    }

    /// The most that it has ever taken, if the system has ended it because that was its limit.
    pub(crate) fn overrun_bytes(&self) -> Option<u64> {
        let events = self.read("memory.events")?;
        // It may also have been ended because there was no memory around it.
        let at_limit = field(&events, "oom")? > 0 && field(&events, "oom_kill")? > 0;
        let peak = || self.read("memory.peak").or_else(|| self.read("memory.max"))?.trim().parse().ok();
        if at_limit { peak() } else { None }
    }

    /// Ends all that is in it.
    pub(crate) fn kill(&self) {
        if let Err(error) = kill_all(&self.folder) {
            debug!(cgroup = %self.folder.display(), %error, "the processes of a cgroup were not ended together");
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        !is_populated(&self.folder)
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.folder.join(file)).ok()
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), text)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_empty() {
            self.kill();
        }
        if let Err(error) = fs::remove_dir(&self.folder) {
            debug!(cgroup = %self.folder.display(), %error, "the cgroup of an executor was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn child(folder: &Path) -> Child {
        Child::create(folder.join("executor-1")).expect("a folder")
    }

    #[test]
    fn limits_are_written_as_the_system_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let child = child(folder.path());
        let written = |limits| {
            child.limit(limits).expect("a folder");
            ["memory.max", "memory.oom.group", "pids.max"].map(|file| child.read(file).expect("it was written"))
        };
        assert_eq!(written(ChildLimits { memory_bytes: Some(1 << 30), threads: 64 }), ["1073741824", "1", "64"]);
        assert_eq!(written(ChildLimits { memory_bytes: None, threads: 7 }), ["max", "1", "7"]);
    }

    #[test]
    fn only_what_its_own_limit_ended_has_overrun_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let child = child(folder.path());
        assert_eq!((child.overrun_bytes(), child.own_memory_bytes()), (None, None), "the system does not tell");
        child.write("memory.stat", "anon 4096\nfile 1\nanon_thp 9\n").expect("a file");
        child.write("memory.max", "3000\n").expect("a file");
        assert_eq!(child.own_memory_bytes(), Some(4096));
        let cases = [
            ("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\noom_group_kill 0\n", None),
            ("low 0\nhigh 0\nmax 0\noom 0\noom_kill 2\noom_group_kill 1\n", None),
            ("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n", Some(3000)),
        ];
        for (events, expected) in cases {
            child.write("memory.events", events).expect("a file");
            assert_eq!(child.overrun_bytes(), expected, "{events}");
        }
        child.write("memory.peak", "2999\n").expect("a file");
        assert_eq!(child.overrun_bytes(), Some(2999));
    }
}
