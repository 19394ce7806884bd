//! Executors in cgroups: of a folder that only looks like one everywhere, and of the system's own where it lets this process make some.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Stage, processes_with, text};
use tandem_node::{Action, ExecutorNeeds, ExitCause};
use tempfile::TempDir;

const LIMIT_BYTES: u64 = 64 << 20;

fn needs() -> ExecutorNeeds {
    ExecutorNeeds { memory_bytes: LIMIT_BYTES, ..ExecutorNeeds::default() }
}

/// A folder with what a cgroup has that can be divided.
fn like_a_cgroup() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("cgroup.subtree_control"), "").expect("a file");
    folder
}

#[tokio::test]
async fn each_process_is_put_into_a_cgroup_with_its_limits() {
    let root = like_a_cgroup();
    let mut stage = Stage::with(|config| {
        config.cgroup = Some(root.path().to_owned());
        config.arena_bytes = 1 << 20;
        config.max_processes = 10;
    });
    let (id, pid) = stage.start(needs()).await;
    let folder = root.path().join(format!("tandem-{}/executor-{}", stage.worker, id.0));
    let written = |file: &str| fs::read_to_string(folder.join(file)).expect("it was written");
    assert_eq!(written("cgroup.procs"), pid.expect("a process").to_string());
    assert_eq!(
        written("memory.max"),
        (LIMIT_BYTES + (1 << 20)).to_string(),
        "its own, and what it may fill of the arena"
    );
    assert_eq!((written("memory.oom.group"), written("pids.max")), ("1".to_owned(), "640".to_owned()));

    // What the system says of it is what counts.
    fs::write(folder.join("memory.stat"), format!("anon {}\n", LIMIT_BYTES + 1)).expect("a folder");
    let expected = ExitCause::MemoryLimit { limit_bytes: LIMIT_BYTES, peak_bytes: LIMIT_BYTES + 1 };
    assert_eq!(stage.gone(id).await, expected);
    assert_eq!(written("cgroup.kill"), "1", "all of it is ended together");
}

#[tokio::test]
async fn what_the_system_has_ended_for_its_memory_is_told_as_that() {
    let root = like_a_cgroup();
    let mut stage = Stage::with(|config| config.cgroup = Some(root.path().to_owned()));
    let id = stage.executor_with(needs()).await;
    let folder = root.path().join(format!("tandem-{}/executor-{}", stage.worker, id.0));
    fs::write(folder.join("memory.events"), "max 4\noom 1\noom_kill 1\n").expect("a folder");
    fs::write(folder.join("memory.peak"), "70000000\n").expect("a folder");
    stage.begin(id, "crash", Vec::new()).await;
    assert_eq!(stage.gone(id).await, ExitCause::MemoryLimit { limit_bytes: LIMIT_BYTES, peak_bytes: 70_000_000 });
}

#[tokio::test]
async fn without_cgroups_processes_start_and_are_watched() {
    let broken = like_a_cgroup();
    fs::remove_file(broken.path().join("cgroup.subtree_control")).expect("a file");
    for root in [broken.path(), Path::new("/nowhere")] {
        let mut stage = Stage::with(|config| config.cgroup = Some(root.to_owned()));
        let id = stage.executor_with(needs()).await;
        assert_eq!(stage.call(id, "echo", vec![text("alive")]).await, "alive");
        stage.begin(id, "take memory", Vec::new()).await;
        let cause = stage.gone(id).await;
        assert!(matches!(cause, ExitCause::MemoryLimit { limit_bytes: LIMIT_BYTES, .. }), "{cause:?}");
    }
    assert_eq!(fs::read_dir(broken.path()).expect("a folder").count(), 0, "nothing is left of the try");
}

/// A cgroup of a test that has the controllers, and where its process was before.
struct Real {
    root: PathBuf,
    before: PathBuf,
}

impl Real {
    fn open() -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let before = Path::new(mount).join(own.lines().find_map(|line| line.strip_prefix("0::/"))?);
        let root = Path::new(mount).join(format!("test-of-tandem-executors-{}", std::process::id()));
        fs::create_dir(&root).ok()?;
        let real = Self { root, before };
        let controllers = fs::read_to_string(real.root.join("cgroup.controllers")).unwrap_or_default();
        let has = |wanted: &str| controllers.split_whitespace().any(|found| found == wanted);
        (has("memory") && has("pids")).then_some(real)
    }

    fn folders(&self) -> usize {
        let entries = fs::read_dir(&self.root).expect("a cgroup").flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let back = fs::write(self.before.join("cgroup.procs"), std::process::id().to_string());
        back.expect("where it was");
        fs::remove_dir(&self.root).expect("nothing is left in it");
    }
}

#[tokio::test]
async fn the_system_ends_a_process_that_takes_too_much_with_all_it_has_started() {
    let Some(real) = Real::open() else {
        return println!("skipped: no cgroup v2 with the controllers `memory` and `pids` can be made here");
    };
    let mut stage = Stage::with(|config| {
        config.cgroup = Some(real.root.clone());
        config.arena_bytes = 0;
        // Nobody else looks.
        config.watch_interval = Duration::from_secs(3600);
    });
    stage.set("TEST_MARK", "the_system_ends_a_process");
    let other = stage.executor().await;
    let id = stage.executor_with(needs()).await;
    let folder = real.root.join(format!("tandem-{}/executor-{}", stage.worker, id.0));
    stage.call(id, "start others", Vec::new()).await;
    assert!(fs::read_to_string(folder.join("cgroup.procs")).expect("a cgroup").lines().count() > 3);
    stage.begin(id, "take memory", Vec::new()).await;
    let cause = stage.gone(id).await;
    let ExitCause::MemoryLimit { limit_bytes: LIMIT_BYTES, peak_bytes } = cause else { panic!("{cause:?}") };
    assert!((LIMIT_BYTES / 2..=LIMIT_BYTES).contains(&peak_bytes), "{peak_bytes}");
    assert!(!folder.exists());
    assert_eq!(stage.call(other, "echo", vec![text("alive")]).await, "alive");
    stage.act(Action::StopExecutor { executor: other, at_once: true }).await;
    assert_eq!(stage.gone(other).await, ExitCause::Asked);
    assert_eq!(processes_with("TEST_MARK=the_system_ends_a_process"), [0; 0]);
    drop(stage);
    let mut left = 1_000;
    while real.folders() > 0 && left > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        left -= 1;
    }
    assert_eq!(real.folders(), 0, "the worker leaves nothing behind");
}
