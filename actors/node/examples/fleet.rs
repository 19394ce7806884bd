//! Programs at the size they are designed for: 1,000 virtual workers with 100,000 running tasks, millions of queued ones, light actors and
//! process actors, every message handled by the real `Cluster` and the real nodes.
//!
//! `cargo run --release -p tandem-node --example fleet -- [NAME=NUMBER ...]`
//!
//! `workers`, `slots` of each, `programs`, `parts` of each program; of each part, or of each driver if there are none, `light` and `heavy`
//! actors, `calls` of each actor, `tasks`, of which `ahead` are submitted before any is read, in lots of `batch`, of `work_ms` each. With
//! `seconds`, tasks are submitted for `warm` seconds and so many more, and what is said in these is counted.

#[path = "../tests/fleet/world/mod.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Instant;

use world::{Fleet, Load, Meter, Size, Traffic};

fn main() {
    let arguments = Arguments::read();
    let size = Size {
        workers: arguments.number("workers", 1_000),
        slots: u32::try_from(arguments.number("slots", 100)).unwrap_or(u32::MAX),
        programs: arguments.number("programs", 32),
    };
    let seconds = arguments.number("seconds", 0);
    let load = Load {
        parts: arguments.number("parts", 0),
        light_actors: arguments.number("light", 0),
        process_actors: arguments.number("heavy", 0),
        calls: arguments.number("calls", 1),
        tasks: if seconds > 0 { u64::MAX } else { arguments.number("tasks", 0) },
        ahead: arguments.number("ahead", 10_000),
        batch: arguments.number("batch", 100),
        work_us: arguments.number("work_ms", 1_000) * 1_000,
        timeout_ms: arguments.number("timeout_ms", 0),
    };
    println!("{size:?}\n{load:?}");
    let begin = Instant::now();
    let before = resident_bytes();
    let mut fleet = Fleet::new(size, load);
    // The drivers are there, and have submitted what they do at once.
    fleet.run_for(50_000);
    show_queued(&fleet, before);
    if seconds > 0 {
        fleet.run_for(arguments.number("warm", 3) * 1_000_000);
        show_rate(&mut fleet, seconds);
        fleet.load.tasks = 0;
    }
    fleet.run_to_end();
    println!("most at once       {:?}", fleet.most);
    println!("tasks done         {} in {} s of cluster time", fleet.tasks_done, fleet.now_us() / 1_000_000);
    show("nodes", &fleet.nodes);
    show("coordinator", fleet.decisions());
    println!("messages           {:?}", fleet.traffic);
    // What waits for a grace has had it.
    fleet.run_for(35_000_000);
    fleet.assert_nothing_lives();
    fleet.close();
    fleet.assert_nothing_is_left();
    println!("nothing is left; {:.0} s of wall time", begin.elapsed().as_secs_f64());
    println!("memory             {} MiB now, {} MiB at most", resident_bytes() >> 20, peak_memory_mib());
}

fn show_queued(fleet: &Fleet, before: u64) {
    let tasks = fleet.known().tasks as u64;
    if let Some(bytes) = resident_bytes().saturating_sub(before).checked_div(tasks) {
        println!("queued             {tasks} tasks, {bytes} bytes each, all nodes included");
    }
}

fn show_rate(fleet: &mut Fleet, seconds: u64) {
    let (said, done) = (fleet.traffic, fleet.tasks_done);
    let (nodes, decisions) = (fleet.nodes, *fleet.decisions());
    println!("running            {} tasks on {} leases", fleet.alive.tasks, fleet.leases());
    fleet.run_for(seconds * 1_000_000);
    let rate = |count: fn(&Traffic) -> u64| (count(&fleet.traffic) - count(&said)) as f64 / seconds as f64;
    println!("tasks              {:.0} per second", (fleet.tasks_done - done) as f64 / seconds as f64);
    println!("to the coordinator {:.0} heartbeats per second", rate(|traffic| traffic.beats));
    println!("                   {:.1} other messages per second", rate(|traffic| traffic.to_coordinator));
    println!("from it            {:.1} messages per second", rate(|traffic| traffic.from_coordinator));
    println!("between nodes      {:.0} messages per second", rate(|traffic| traffic.between_nodes));
    show("nodes", &fleet.nodes.since(nodes));
    show("coordinator", &fleet.decisions().since(decisions));
    println!("in all");
}

fn show(whose: &str, meter: &Meter) {
    let Meter { events, spent_ns, longest_ns } = *meter;
    let each_us = spent_ns as f64 / events.max(1) as f64 / 1e3;
    let (rate, longest_ms) = (1e6 / each_us, longest_ns as f64 / 1e6);
    println!("{whose:<18} {events} events, {each_us:.2} us each, {rate:.0} per second, longest {longest_ms:.1} ms");
}

/// `NAME=NUMBER` of each argument.
struct Arguments(BTreeMap<String, u64>);

impl Arguments {
    fn read() -> Self {
        let pair = |text: String| {
            let (name, number) = text.split_once('=').expect("an argument is NAME=NUMBER");
            (name.to_owned(), number.parse().expect("a number"))
        };
        Self(std::env::args().skip(1).map(pair).collect())
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).copied().unwrap_or(default)
    }
}

/// The memory this process has, as the kernel tells it; 0 where it does not.
fn resident_bytes() -> u64 {
    status_kib("VmRSS:") << 10
}

/// The most it has had.
fn peak_memory_mib() -> u64 {
    status_kib("VmHWM:") >> 10
}

fn status_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
