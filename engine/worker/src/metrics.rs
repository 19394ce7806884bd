//! Every metric of a worker.
//!
//! What tasks did is added when an attempt ends, so that nothing on the way of a batch touches a metric. Labels are few:
//! names of sources and sinks come from jobs, so after [`MAX_NAMES`] of them the rest share one.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use tandem_proto::v1::{FailureKind, RowCount, RowCountKind, TaskFailed, TaskFinished, TaskMetrics};
use tandem_runtime::{LentStats, SpillStats};

use crate::process;

/// Sources and sinks that have series of their own.
const MAX_NAMES: usize = 200;
const OTHER_NAME: &str = "other";
const VALID: &str = "names and labels are constants that Prometheus takes";

/// What is read when someone asks for the metrics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readings {
    /// Task attempts that run.
    pub(crate) running_tasks: usize,
    /// Outputs held for their readers.
    pub(crate) held_outputs: usize,
    /// Whether the coordinator knows this worker.
    pub(crate) attached: bool,
    /// Reserved in the memory pool.
    pub(crate) pool_used_bytes: u64,
    /// Stored output in memory.
    pub(crate) stored_bytes: u64,
    /// Stored output on disk.
    pub(crate) spilled_bytes: u64,
    /// Objects of programs on disk.
    pub(crate) objects: SpillStats,
    /// What other workers have read of objects of programs.
    pub(crate) lent: LentStats,
}

/// The metrics of one worker process.
pub(crate) struct Metrics {
    registry: Registry,
    tasks: IntCounterVec,
    source_rows: IntCounterVec,
    source_bytes: IntCounterVec,
    sink_rows: IntCounterVec,
    sink_bytes: IntCounterVec,
    shuffle_read_bytes: IntCounterVec,
    shuffle_served_bytes: IntCounter,
    fetch_wait_seconds: Counter,
    spilled_bytes: IntCounter,
    object_spilled_bytes: IntCounter,
    object_restored_bytes: IntCounter,
    object_sent_bytes: IntCounterVec,
    cpu_seconds: Counter,
    gauges: Gauges,
    names: Mutex<HashSet<String>>,
    scrape: Mutex<()>,
}

struct Gauges {
    running_tasks: IntGauge,
    held_outputs: IntGauge,
    attached: IntGauge,
    pool_used_bytes: IntGauge,
    stored_bytes: IntGauge,
    stored_on_disk_bytes: IntGauge,
    objects_on_disk: IntGauge,
    object_on_disk_bytes: IntGauge,
    resident_memory_bytes: IntGauge,
}

impl Metrics {
    /// All metrics at zero, for a worker with `slots` and a pool of `pool_bytes`.
    pub(crate) fn new(slots: u32, pool_bytes: u64) -> Self {
        let make = Make(Registry::new());
        make.gauge("tandem_worker_slots", "Tasks that may run at once").set(slots.into());
        make.gauge("tandem_worker_pool_limit_bytes", "Size of the memory pool").set(signed(pool_bytes));
        Self {
            tasks: make.counters("tandem_worker_tasks_total", "Task attempts that ended, by outcome", &["outcome"]),
            source_rows: make.counters(
                "tandem_worker_source_rows_total",
                "Rows of each source, read (rejected ones included) and rejected",
                &["source", "outcome"],
            ),
            source_bytes: make.counters(
                "tandem_worker_source_bytes_total",
                "Bytes read of each source, without those read before to count its records",
                &["source"],
            ),
            sink_rows: make.counters("tandem_worker_sink_rows_total", "Rows written for each sink", &["sink"]),
            sink_bytes: make.counters("tandem_worker_sink_bytes_total", "Bytes written for each sink", &["sink"]),
            shuffle_read_bytes: make.counters(
                "tandem_worker_shuffle_read_bytes_total",
                "Bytes of stage output that tasks read, from this worker and from others",
                &["from"],
            ),
            shuffle_served_bytes: make
                .counter("tandem_worker_shuffle_served_bytes_total", "Encoded bytes of stage output sent to others"),
            fetch_wait_seconds: make
                .seconds("tandem_worker_fetch_wait_seconds_total", "Time that tasks waited for stage output"),
            spilled_bytes: make
                .counter("tandem_worker_spilled_bytes_total", "Bytes that tasks wrote to disk for want of memory"),
            object_spilled_bytes: make.counter(
                "tandem_worker_object_spilled_bytes_total",
                "Bytes of objects written to disk for want of shared memory",
            ),
            object_restored_bytes: make
                .counter("tandem_worker_object_restored_bytes_total", "Bytes of objects brought back from disk"),
            object_sent_bytes: make.counters(
                "tandem_worker_object_sent_bytes_total",
                "Bytes of objects that other workers read here, from shared memory (arena) and from disk (spill)",
                &["from"],
            ),
            cpu_seconds: make.seconds("tandem_worker_cpu_seconds_total", "CPU time of this process"),
            gauges: Gauges::new(&make),
            names: Mutex::default(),
            scrape: Mutex::default(),
            registry: make.0,
        }
    }

    /// Counts one attempt's end and all it did.
    pub(crate) fn task_ended(&self, outcome: &Result<TaskFinished, TaskFailed>) {
        self.tasks.with_label_values(&[outcome_label(outcome)]).inc();
        if let Ok(TaskFinished { metrics: Some(metrics), .. }) = outcome {
            self.add_task(metrics);
        }
    }

    /// Counts bytes sent through the data port.
    pub(crate) fn served(&self, bytes: usize) {
        self.shuffle_served_bytes.inc_by(bytes as u64);
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self, readings: &Readings) -> Result<String, prometheus::Error> {
        // One at a time: some counters are moved by what they lack.
        let _turn = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.gauges.set(readings);
        catch_up(&self.object_spilled_bytes, readings.objects.written_bytes);
        catch_up(&self.object_restored_bytes, readings.objects.restored_bytes);
        catch_up(&self.object_sent_bytes.with_label_values(&["arena"]), readings.lent.arena_bytes);
        catch_up(&self.object_sent_bytes.with_label_values(&["spill"]), readings.lent.disk_bytes);
        self.cpu_seconds.inc_by((process::cpu_time().as_secs_f64() - self.cpu_seconds.get()).max(0.0));
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn add_task(&self, metrics: &TaskMetrics) {
        self.shuffle_read_bytes.with_label_values(&["local"]).inc_by(metrics.shuffle_local_bytes);
        self.shuffle_read_bytes.with_label_values(&["remote"]).inc_by(metrics.shuffle_remote_bytes);
        self.fetch_wait_seconds.inc_by(metrics.fetch_wait_ms as f64 / 1000.0);
        self.spilled_bytes.inc_by(metrics.spilled_bytes);
        for count in &metrics.counts {
            self.add_count(count);
        }
    }

    fn add_count(&self, count: &RowCount) {
        match count.kind() {
            RowCountKind::Read => {
                let source = self.bounded(&count.name);
                self.source_rows.with_label_values(&[source, "read"]).inc_by(count.rows);
                self.source_bytes.with_label_values(&[source]).inc_by(count.bytes);
            }
            RowCountKind::Rejected => {
                self.source_rows.with_label_values(&[self.bounded(&count.name), "rejected"]).inc_by(count.rows);
            }
            RowCountKind::Written => {
                let sink = self.bounded(&count.name);
                self.sink_rows.with_label_values(&[sink]).inc_by(count.rows);
                self.sink_bytes.with_label_values(&[sink]).inc_by(count.bytes);
            }
            // Steps are the job report's matter.
            RowCountKind::Step
            | RowCountKind::Warned
            | RowCountKind::Worked
            | RowCountKind::Timed
            | RowCountKind::Unspecified => {}
        }
    }

    fn bounded<'a>(&self, name: &'a str) -> &'a str {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(name) {
            return name;
        }
        if names.len() >= MAX_NAMES {
            return OTHER_NAME;
        }
        names.insert(name.to_owned());
        name
    }
}

impl Gauges {
    fn new(make: &Make) -> Self {
        Self {
            running_tasks: make.gauge("tandem_worker_running_tasks", "Task attempts that run now"),
            held_outputs: make.gauge("tandem_worker_held_outputs", "Task outputs kept for their readers"),
            attached: make.gauge("tandem_worker_attached", "Whether the coordinator knows this worker"),
            pool_used_bytes: make.gauge("tandem_worker_pool_used_bytes", "Reserved in the memory pool"),
            stored_bytes: make.gauge("tandem_worker_stored_bytes", "Task output kept in memory"),
            stored_on_disk_bytes: make.gauge("tandem_worker_stored_on_disk_bytes", "Task output kept on disk"),
            objects_on_disk: make.gauge("tandem_worker_objects_on_disk", "Objects of programs kept on disk"),
            object_on_disk_bytes: make
                .gauge("tandem_worker_object_on_disk_bytes", "Bytes of objects of programs kept on disk"),
            resident_memory_bytes: make.gauge("tandem_worker_resident_memory_bytes", "Resident memory of this process"),
        }
    }

    fn set(&self, readings: &Readings) {
        self.running_tasks.set(signed(readings.running_tasks as u64));
        self.held_outputs.set(signed(readings.held_outputs as u64));
        self.attached.set(readings.attached.into());
        self.pool_used_bytes.set(signed(readings.pool_used_bytes));
        self.stored_bytes.set(signed(readings.stored_bytes));
        self.stored_on_disk_bytes.set(signed(readings.spilled_bytes));
        self.objects_on_disk.set(signed(readings.objects.objects));
        self.object_on_disk_bytes.set(signed(readings.objects.bytes));
        self.resident_memory_bytes.set(signed(process::rss_bytes()));
    }
}

fn outcome_label(outcome: &Result<TaskFinished, TaskFailed>) -> &'static str {
    match outcome.as_ref().map_err(TaskFailed::kind) {
        Ok(_) => "finished",
        Err(FailureKind::Cancelled) => "cancelled",
        Err(FailureKind::Fetch) => "input_lost",
        Err(FailureKind::Fatal) => "failed_for_good",
        Err(FailureKind::Resources) => "out_of_resources",
        Err(FailureKind::Retry | FailureKind::Unspecified) => "failed",
    }
}

fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Makes metrics and registers them.
struct Make(Registry);

impl Make {
    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.register(IntGauge::new(name, help))
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.register(IntCounter::new(name, help))
    }

    fn seconds(&self, name: &str, help: &str) -> Counter {
        self.register(Counter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn register<M: Collector + Clone + 'static>(&self, metric: prometheus::Result<M>) -> M {
        let metric = metric.expect(VALID);
        self.0.register(Box::new(metric.clone())).expect(VALID);
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, kind: RowCountKind, rows: u64, bytes: u64) -> RowCount {
        RowCount { name: name.to_owned(), kind: kind.into(), rows, bytes }
    }

    #[test]
    fn an_ended_task_is_counted_by_outcome_source_and_sink() {
        let metrics = Metrics::new(4, 1 << 30);
        let counts = vec![
            count("events", RowCountKind::Read, 10, 100),
            count("events", RowCountKind::Rejected, 1, 0),
            count("clean", RowCountKind::Written, 9, 90),
        ];
        let done = TaskMetrics { counts, fetch_wait_ms: 1500, shuffle_remote_bytes: 7, ..TaskMetrics::default() };
        metrics.task_ended(&Ok(TaskFinished { metrics: Some(done), ..TaskFinished::default() }));
        metrics.task_ended(&Err(TaskFailed { kind: FailureKind::Fetch.into(), ..TaskFailed::default() }));
        metrics.served(5);

        let objects = SpillStats { objects: 2, bytes: 20, written_bytes: 50, restored_bytes: 30 };
        let lent = LentStats { arena_bytes: 70, disk_bytes: 60 };
        metrics.render(&Readings { objects, lent, ..Readings::default() }).unwrap();
        let text = metrics.render(&Readings { running_tasks: 3, objects, lent, ..Readings::default() }).unwrap();
        for line in [
            "tandem_worker_tasks_total{outcome=\"finished\"} 1",
            "tandem_worker_tasks_total{outcome=\"input_lost\"} 1",
            "tandem_worker_source_rows_total{outcome=\"read\",source=\"events\"} 10",
            "tandem_worker_source_rows_total{outcome=\"rejected\",source=\"events\"} 1",
            "tandem_worker_source_bytes_total{source=\"events\"} 100",
            "tandem_worker_sink_rows_total{sink=\"clean\"} 9",
            "tandem_worker_shuffle_read_bytes_total{from=\"remote\"} 7",
            "tandem_worker_shuffle_served_bytes_total 5",
            "tandem_worker_fetch_wait_seconds_total 1.5",
            "tandem_worker_running_tasks 3",
            "tandem_worker_object_spilled_bytes_total 50",
            "tandem_worker_object_restored_bytes_total 30",
            "tandem_worker_object_sent_bytes_total{from=\"arena\"} 70",
            "tandem_worker_object_sent_bytes_total{from=\"spill\"} 60",
            "tandem_worker_objects_on_disk 2",
            "tandem_worker_object_on_disk_bytes 20",
            "tandem_worker_slots 4",
            "# TYPE tandem_worker_tasks_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "no `{line}` in:\n{text}");
        }
    }

    #[test]
    fn names_beyond_the_limit_share_a_series() {
        let metrics = Metrics::new(1, 0);
        for i in 0..MAX_NAMES + 5 {
            metrics.add_count(&count(&format!("sink{i}"), RowCountKind::Written, 1, 0));
        }
        let text = metrics.render(&Readings::default()).unwrap();
        assert!(text.contains("tandem_worker_sink_rows_total{sink=\"other\"} 5"), "{text}");
    }
}
