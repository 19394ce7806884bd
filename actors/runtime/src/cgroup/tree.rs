//! The cgroups of one worker. Dropped, they are removed as far as that is possible for a process that is in one of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::child::{Child, ChildLimits};
use super::place::NoCgroups;
use super::{OF_CHILDREN, PROCESSES, is_populated, kill_all};

/// How the names of workers' folders begin.
const PREFIX: &str = "tandem-";
/// The folder with the process of the worker.
const WORKER: &str = "worker";
/// How long what a killed worker has left may take to end.
const LEFT_PATIENCE: Duration = Duration::from_secs(1);
const LEFT_STEP: Duration = Duration::from_millis(10);

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Cgroups {
    root: PathBuf,
    folder: PathBuf,
    /// What children are held by.
    controllers: &'static [&'static str],
    /// Which of these the root did not give to its children before.
    added: Vec<&'static str>,
    /// One could not be made: no more are tried.
    given_up: AtomicBool,
}

impl Cgroups {
    /// Divides `root`, and moves this process into a part of it. What workers that are gone have left there is removed.
    pub(crate) fn open(root: &Path, worker: &str, controllers: &'static [&'static str]) -> Result<Self, NoCgroups> {
        remove_left(root);
        let folder = root.join(format!("{PREFIX}{worker}"));
        let io = |source| NoCgroups::Io { path: root.to_owned(), source };
        let of_children = fs::read_to_string(root.join(OF_CHILDREN)).map_err(io)?;
        let is_new = |controller: &&str| !of_children.split_whitespace().any(|given| given == *controller);
        let added = controllers.iter().copied().filter(is_new).collect();
        fs::create_dir(&folder).map_err(io)?;
        // From here on dropping it undoes what was done.
        let tree = Self { root: root.to_owned(), folder, controllers, added, given_up: AtomicBool::new(false) };
        tree.divide().map_err(io)?;
        Ok(tree)
    }

    fn divide(&self) -> io::Result<()> {
        let own = self.folder.join(WORKER);
        fs::create_dir(&own)?;
        enter(&own)?;
        give(&self.root, '+', &self.added)?;
        give(&self.folder, '+', self.controllers)
    }

    /// A cgroup for an executor. None if it cannot be had, which is logged once.
    pub(crate) fn child(&self, executor: u64, limits: ChildLimits) -> Option<Child> {
        if self.given_up.load(Ordering::Relaxed) {
            return None;
        }
        let made = Child::create(self.folder.join(format!("executor-{executor}")));
        let limited = made.and_then(|child| child.limit(limits).map(|()| child));
        limited.inspect_err(|error| self.give_up(error)).ok()
    }

    fn give_up(&self, error: &io::Error) {
        if !self.given_up.swap(true, Ordering::Relaxed) {
            warn!(cgroup = %self.folder.display(), %error, "executors get no cgroups of their own any more, and are watched only");
        }
    }

    fn undo(&self) -> io::Result<()> {
        give(&self.folder, '-', self.controllers)?;
        give(&self.root, '-', &self.added)?;
        enter(&self.root)?;
        fs::remove_dir(self.folder.join(WORKER))?;
        fs::remove_dir(&self.folder)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            debug!(cgroup = %self.folder.display(), %error, "the cgroups of a worker are left to the next one");
        }
    }
}

/// Moves this process.
fn enter(folder: &Path) -> io::Result<()> {
    fs::write(folder.join(PROCESSES), std::process::id().to_string())
}

/// Gives controllers to the children of a cgroup, or takes them away.
fn give(folder: &Path, sign: char, controllers: &[&str]) -> io::Result<()> {
    let text: Vec<String> = controllers.iter().map(|controller| format!("{sign}{controller}")).collect();
    if text.is_empty() { Ok(()) } else { fs::write(folder.join(OF_CHILDREN), text.join(" ")) }
}

/// Removes the folders of workers that are gone, and ends what is in them.
fn remove_left(root: &Path) {
    for folder in folders(root, PREFIX).filter(|folder| !is_populated(&folder.join(WORKER))) {
        match remove_one_left(&folder) {
            Ok(()) => info!(cgroup = %folder.display(), "cgroups that a worker had left are removed"),
            Err(error) => debug!(cgroup = %folder.display(), %error, "cgroups that a worker had left stay"),
        }
    }
}

fn remove_one_left(folder: &Path) -> io::Result<()> {
    if is_populated(folder) {
        kill_all(folder)?;
        let mut waited = Duration::ZERO;
        while is_populated(folder) && waited < LEFT_PATIENCE {
            std::thread::sleep(LEFT_STEP);
            waited += LEFT_STEP;
        }
    }
    folders(folder, "").try_for_each(fs::remove_dir)?;
    fs::remove_dir(folder)
}

fn folders(folder: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.filter(move |entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    named.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::super::CONTROLLERS;
    use super::*;

    const LIMITS: ChildLimits = ChildLimits { memory_bytes: Some(1 << 20), threads: 8 };

    #[test]
    fn a_cgroup_is_divided_as_the_system_wants_it() {
        let root = tempfile::tempdir().expect("a folder");
        let text = |path: &str| fs::read_to_string(root.path().join(path)).unwrap_or_default();
        fs::write(root.path().join(OF_CHILDREN), "cpu memory\n").expect("a file");
        let cgroups = Cgroups::open(root.path(), "w1", CONTROLLERS).expect("a root");
        assert_eq!(text(OF_CHILDREN), "+pids", "what its children have already is not its to take away");
        assert_eq!(text("tandem-w1/cgroup.subtree_control"), "+memory +pids");
        assert_eq!(text("tandem-w1/worker/cgroup.procs"), std::process::id().to_string());
        let child = cgroups.child(7, LIMITS).expect("a cgroup");
        assert_eq!(child.folder, root.path().join("tandem-w1/executor-7"));
        child.enter(123).expect("a folder");
        assert_eq!(
            (text("tandem-w1/executor-7/cgroup.procs"), text("tandem-w1/executor-7/pids.max")),
            ("123".into(), "8".into())
        );
        drop((child, cgroups));
        assert_eq!(text("tandem-w1/cgroup.subtree_control"), "-memory -pids");
        assert_eq!((text(OF_CHILDREN), text(PROCESSES)), ("-pids".into(), std::process::id().to_string()));
    }

    #[test]
    fn what_fails_is_told_once_and_hinders_nobody() {
        let root = tempfile::tempdir().expect("a folder");
        let missing = Cgroups::open(&root.path().join("none"), "w1", CONTROLLERS).expect_err("it is not there");
        assert!(missing.to_string().contains("none cannot be divided: No such file"), "{missing}");
        fs::write(root.path().join(OF_CHILDREN), "").expect("a file");
        let cgroups = Cgroups::open(root.path(), "w1", CONTROLLERS).expect("a root");
        fs::create_dir(root.path().join("tandem-w1/executor-1")).expect("a folder");
        assert!(cgroups.child(1, LIMITS).is_none() && cgroups.given_up.load(Ordering::Relaxed));
        assert!(cgroups.child(2, LIMITS).is_none() && !root.path().join("tandem-w1/executor-2").exists());
    }

    /// A cgroup of this test in the real hierarchy, and where this process was before.
    struct Real {
        root: PathBuf,
        before: PathBuf,
    }

    impl Real {
        fn open(name: &str) -> Option<Self> {
            let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
            let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
            let root = Path::new(mount).join(format!("test-of-tandem-{name}-{}", std::process::id()));
            let own = fs::read_to_string("/proc/self/cgroup").ok()?;
            let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
            fs::create_dir(&root).ok()?;
            Some(Self { root, before: Path::new(mount).join(own) })
        }
    }

    impl Drop for Real {
        fn drop(&mut self) {
            enter(&self.before).expect("where it was");
            fs::remove_dir(&self.root).expect("nothing is left in it");
        }
    }

    #[test]
    fn the_system_moves_ends_and_removes() {
        let Some(real) = Real::open("tree") else { return println!("skipped: cgroup v2 cannot be written here") };
        let sleeper = || Command::new("sleep").arg("600").spawn().expect("a process");
        let left = real.root.join("tandem-gone");
        for folder in ["", "worker", "executor-1"] {
            fs::create_dir(left.join(folder)).expect("a cgroup");
        }
        let mut lost = sleeper();
        fs::write(left.join("executor-1").join(PROCESSES), lost.id().to_string()).expect("it is moved");
        let other = real.root.join("tandem-other");
        for folder in ["", "worker"] {
            fs::create_dir(other.join(folder)).expect("a cgroup");
        }
        let mut alive = sleeper();
        fs::write(other.join("worker").join(PROCESSES), alive.id().to_string()).expect("it is moved");

        let cgroups = Cgroups::open(&real.root, "w1", &[]).expect("a root");
        assert_eq!(lost.wait().expect("its status").signal(), Some(9), "what a worker has left is ended");
        assert!(!left.exists() && is_populated(&other.join("worker")), "and a worker that lives is left alone");
        assert!(is_populated(&real.root.join("tandem-w1/worker")));

        let child = Child::create(cgroups.folder.join("executor-7")).expect("a cgroup");
        let mut process = sleeper();
        assert!(child.is_empty());
        child.enter(process.id()).expect("it is moved");
        assert!(!child.is_empty());
        child.kill();
        assert_eq!(process.wait().expect("its status").signal(), Some(9));
        let folder = child.folder.clone();
        drop(child);
        assert!(!folder.exists());

        drop(cgroups);
        assert!(!real.root.join("tandem-w1").exists());
        alive.kill().expect("a process");
        alive.wait().expect("its status");
        remove_left(&real.root);
        assert!(!other.exists());
    }
}
