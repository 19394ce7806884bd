//! What jobs leave behind: nothing. `TANDEM_JOBS=1000` runs as many as are needed to see what grows slowly.

use std::collections::BTreeMap;
use std::fs;

use crate::submit;
use crate::support::{Sandbox, files_below, number_from, wait_for};

/// So many jobs fill what is kept of ended ones as far as it matters for memory.
const WARM: u64 = 100;

/// What a process of the cluster has at a moment.
#[derive(Debug, Clone, Copy)]
struct Has {
    descriptors: usize,
    resident_bytes: u64,
}

/// The coordinator and the workers, by name.
fn daemons(sandbox: &Sandbox) -> BTreeMap<String, Has> {
    let status = sandbox.run(&["cluster", "status", "-o", "json"]).succeeded().json();
    let processes = status["processes"].as_object().expect("processes by name");
    processes.iter().map(|(name, pid)| (name.clone(), has(pid.as_u64().expect("a process id")))).collect()
}

fn has(pid: u64) -> Has {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors").count();
    let pages = fs::read_to_string(format!("/proc/{pid}/statm")).expect("its memory");
    let pages: u64 = pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("resident pages");
    Has { descriptors, resident_bytes: pages * 4096 }
}

/// Files of executors, and shared memory that has a name.
fn files(sandbox: &Sandbox) -> Vec<String> {
    let mut files = files_below(&sandbox.state());
    files.retain(|file| file.contains("executors"));
    files.extend(files_below("/dev/shm".as_ref()).into_iter().filter(|file| file.contains("tandem")));
    files
}

#[test]
fn jobs_leave_no_process_file_or_memory() {
    let sandbox = Sandbox::with_cluster(2);
    let jobs = number_from("TANDEM_JOBS", 12);
    let run = |jobs: u64| {
        for job in 0..jobs {
            // Tasks; objects and actors too.
            let (program, args): (_, &[&str]) =
                if job % 4 == 0 { ("mixed", &["1", "5"]) } else { ("pi", &["100", "10"]) };
            submit(&sandbox, program, args).succeeded();
        }
        wait_for("the end of the jobs' processes", || sandbox.executors().is_empty());
    };
    let warm = WARM.min(jobs / 2);
    run(warm);
    let before = daemons(&sandbox);
    run(jobs - warm);
    wait_for("as few open files as before", || {
        let now = daemons(&sandbox);
        before.iter().all(|(name, had)| now[name].descriptors <= had.descriptors + 2)
    });
    assert_eq!(files(&sandbox), Vec::<String>::new());
    if warm == WARM {
        for (name, had) in before {
            let grown = has_grown(&had, &daemons(&sandbox)[&name]);
            assert!(grown <= 1.05, "the memory of {name} has grown to {grown:.3} times of what it was");
        }
    }
}

fn has_grown(before: &Has, now: &Has) -> f64 {
    now.resident_bytes as f64 / before.resident_bytes as f64
}
