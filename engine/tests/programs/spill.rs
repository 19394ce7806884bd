//! Values that together are larger than shared memory: they go to disk, come back, and leave nothing there.

use std::path::{Path, PathBuf};

use crate::submit;
use crate::support::{Sandbox, wait_for};

/// Files of objects anywhere below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "object") {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_has_no_room_in_memory_goes_to_disk_and_comes_back() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cluster", "up", "--workers", "1", "--memory", "128MiB"]).succeeded();
    // Nearly four times the arena, which is half of that.
    let finished = submit(&sandbox, "overflow", &["60", "4000000"]).succeeded();
    assert!(finished.stdout.ends_with("right\n"), "{}", finished.stdout);
    let root = sandbox.work();
    let root = root.parent().expect("the sandbox").to_owned();
    wait_for("the end of all files", || files_below(&root).is_empty());
}

#[test]
fn what_has_no_room_in_memory_is_read_by_other_workers() {
    let sandbox = Sandbox::new();
    sandbox.run(&["cluster", "up", "--workers", "2", "--memory", "128MiB"]).succeeded();
    let finished = submit(&sandbox, "overflow", &["60", "4000000"]).succeeded();
    assert!(finished.stdout.ends_with("right\n"), "{}", finished.stdout);
}
