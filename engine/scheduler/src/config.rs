//! The times and limits that the state machine decides by.

use serde::Deserialize;

/// Section `[cluster]` of the coordinator: leases, graces and limits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// How often a worker sends a heartbeat. Default 500 ms.
    pub heartbeat_interval_ms: u64,
    /// Silence after which a worker gets no new tasks. Default 1.5 s.
    pub suspect_after_ms: u64,
    /// Silence after which a worker is lost and fenced. Default 2 s.
    pub lost_after_ms: u64,
    /// How long a lost worker is still listed. Default 1 min.
    pub lost_shown_ms: u64,
    /// How long a worker whose stream broke may take to register again. Default 1 s.
    pub reconnect_grace_ms: u64,
    /// How long a restarted coordinator waits for the workers it knew before it starts anything of the jobs it
    /// restored. Default 3 s; it ends early when all are back.
    pub reattach_grace_ms: u64,
    /// Whether workers that the journal knows may still live. Default true; false when whoever starts the coordinator
    /// knows that they do not, so that nothing waits for them.
    pub expect_workers: bool,
    /// How long a draining worker waits for readers of its output before that output is made again elsewhere.
    /// Default 10 s.
    pub drain_patience_ms: u64,
    /// How long jobs wait without any worker before they fail. Default 15 s.
    pub no_workers_grace_ms: u64,
    /// How long an attached job runs on without a follower, whose client tries at least every 250 ms to come back. Default 500 ms.
    pub follower_lease_ms: u64,
    /// The same right after acceptance and after a restart of the coordinator. Default 30 s.
    pub follower_return_ms: u64,
    /// How long a result is kept after the job ended and the last follower left. Default 10 s.
    pub result_grace_ms: u64,
    /// Output that all readers have finished with is retained up to so many bytes per worker and job, so that losing a worker does
    /// not mean to make again what led to it. Default 256 MiB.
    pub retained_bytes_per_worker: u64,
    /// The wait before a failed job with retries left starts again. Default 1 s.
    pub retry_delay_ms: u64,
    /// A worker that runs something and whose queries hold more than so many percent of its memory gets no more until they hold less.
    /// Output it keeps for readers does not count: that can go to disk. Default 60.
    pub admission_percent: u64,
    /// A launched attempt that no heartbeat has mentioned for so long is launched again. Default 2 s.
    pub launch_repeat_ms: u64,
    /// How often to look for tasks that take far longer than the others of their stage, while slots are free. Default 500 ms;
    /// 0 for never.
    pub straggler_interval_ms: u64,
    /// A task is one when it runs for longer than this. Default 1 s.
    pub straggler_after_ms: u64,
    /// And for longer than so many percent of what half of the others took. Default 200.
    pub straggler_percent: u64,
    /// How often to look whether a job has more than its fair share while another waits. Default 250 ms.
    pub sharing_interval_ms: u64,
    /// How long what no worker can run is waited with, since one that can may join. Default 1 min.
    pub unschedulable_grace_ms: u64,
    /// Failures of a task's own code that fail the job. Default 3.
    pub task_failures: u32,
    /// Workers that may be lost while they run one task before it counts as poisonous. Default 3.
    pub poison_workers: u32,
    /// The same for a driver, which runs for as long as its job, and in a process of its own that is ended before it harms its
    /// worker. Default 30.
    pub poison_workers_of_driver: u32,
    /// Unreadable inputs of one task after which the job fails. Default 30.
    pub fetch_failures: u32,
    /// Ended jobs that are remembered. Default 200.
    pub kept_jobs: usize,
    /// Tasks of ended jobs that are remembered, over all of them. Default 200,000.
    pub kept_tasks: usize,
    /// Unsuccessful attempts remembered per job. Default 1,000.
    pub kept_attempts: usize,
    /// Tasks started while handling one event; the rest follow at the next. Default 512.
    pub launch_batch: usize,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval_ms: 500,
            suspect_after_ms: 1_500,
            lost_after_ms: 2_000,
            lost_shown_ms: 60_000,
            reconnect_grace_ms: 1_000,
            reattach_grace_ms: 3_000,
            expect_workers: true,
            drain_patience_ms: 10_000,
            no_workers_grace_ms: 15_000,
            follower_lease_ms: 500,
            follower_return_ms: 30_000,
            result_grace_ms: 10_000,
            retained_bytes_per_worker: 256 << 20,
            retry_delay_ms: 1_000,
            admission_percent: 60,
            launch_repeat_ms: 2_000,
            straggler_interval_ms: 500,
            straggler_after_ms: 1_000,
            straggler_percent: 200,
            sharing_interval_ms: 250,
            unschedulable_grace_ms: 60_000,
            task_failures: 3,
            poison_workers: 3,
            poison_workers_of_driver: 30,
            fetch_failures: 30,
            kept_jobs: 200,
            kept_tasks: 200_000,
            kept_attempts: 1_000,
            launch_batch: 512,
        }
    }
}
