//! Every metric of a coordinator, built from its state when someone asks.
//!
//! The state machine counts; nothing else here keeps a number, so a scrape and an RPC never disagree.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{
    Counter, Encoder, Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tandem_scheduler::{ClusterView, CountKind, Counters, JobState, NodeState, Timestamp};

use crate::process;
use crate::server::{Seen, Totals};

/// What the metrics show of one moment.
pub(crate) struct Snapshot {
    counters: Counters,
    cluster: ClusterView,
    jobs: BTreeMap<&'static str, i64>,
    nodes: BTreeMap<&'static str, i64>,
    stages_running: i64,
    tasks_running: i64,
    tasks_pending: i64,
    totals: Totals,
    waiting: usize,
    pub(crate) uptime_seconds: f64,
}

impl Snapshot {
    /// Of what is seen now, in a coordinator that `started` then.
    pub(crate) fn of(seen: &Seen<'_>, started: Timestamp, now: Timestamp) -> Self {
        let mut jobs: BTreeMap<_, _> = JOB_STATES.into_iter().map(|state| (job_label(state), 0)).collect();
        let mut nodes: BTreeMap<_, _> = NODE_STATES.into_iter().map(|state| (node_label(state), 0)).collect();
        let (mut stages_running, mut tasks_running, mut tasks_pending) = (0, 0, 0);
        for job in seen.cluster.jobs() {
            *jobs.entry(job_label(job.state)).or_default() += 1;
            if !matches!(job.state, JobState::Pending | JobState::Running) {
                continue;
            }
            stages_running += job.stages.iter().filter(|stage| stage.running > 0).count() as i64;
            tasks_running += job.stages.iter().map(|stage| i64::from(stage.running)).sum::<i64>();
            tasks_pending += job.stages.iter().map(|stage| i64::from(stage.pending)).sum::<i64>();
        }
        for node in seen.cluster.nodes() {
            *nodes.entry(node_label(node.state)).or_default() += 1;
        }
        Self {
            counters: seen.cluster.counters(),
            cluster: seen.cluster.summary(),
            jobs,
            nodes,
            stages_running,
            tasks_running,
            tasks_pending,
            totals: seen.totals.clone(),
            waiting: seen.waiting,
            uptime_seconds: now.ms_since(started) as f64 / 1000.0,
        }
    }

    /// In the text form that Prometheus reads.
    pub(crate) fn render(&self) -> prometheus::Result<String> {
        let make = Make(Registry::new());
        self.state(&make)?;
        self.events(&make)?;
        self.sources_and_sinks(&make)?;
        self.process(&make)?;
        let mut text = Vec::new();
        TextEncoder::new().encode(&make.0.gather(), &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    fn state(&self, make: &Make) -> prometheus::Result<()> {
        make.gauges("tandem_coordinator_jobs", "Jobs that are remembered, by state", "state", &self.jobs)?;
        make.gauges("tandem_coordinator_workers", "Workers that are known, by state", "state", &self.nodes)?;
        make.gauge("tandem_coordinator_stages_running", "Stages of which a task runs", self.stages_running)?;
        make.gauge("tandem_coordinator_tasks_running", "Task attempts that run", self.tasks_running)?;
        make.gauge("tandem_coordinator_tasks_pending", "Tasks that wait for inputs or a slot", self.tasks_pending)?;
        make.gauge("tandem_coordinator_slots", "Slots of the workers that take tasks", self.cluster.slots.into())?;
        make.gauge("tandem_coordinator_slots_used", "Slots that are taken", self.cluster.slots_used.into())?;
        make.gauge("tandem_coordinator_leases", "Leases of slots that are given", self.cluster.leases.into())?;
        make.gauge(
            "tandem_coordinator_queue_messages",
            "Messages that wait for the task that holds the cluster",
            i64::try_from(self.waiting).unwrap_or(i64::MAX),
        )
    }

    fn events(&self, make: &Make) -> prometheus::Result<()> {
        let counters = &self.counters;
        make.counter("tandem_coordinator_jobs_accepted_total", "Jobs accepted", counters.jobs_accepted)?;
        let ended = [
            ("succeeded", counters.jobs_succeeded),
            ("failed", counters.jobs_failed),
            ("stopped", counters.jobs_stopped),
        ];
        make.counters("tandem_coordinator_jobs_ended_total", "Jobs that ended, by outcome", "outcome", &ended)?;
        make.counter("tandem_coordinator_tasks_launched_total", "Task attempts launched", counters.attempts_launched)?;
        make.counter(
            "tandem_coordinator_tasks_raced_total",
            "Second attempts of tasks that took far longer than the others of their stage",
            counters.attempts_raced,
        )?;
        let outcomes = [
            ("succeeded", counters.attempts_succeeded),
            ("failed", counters.attempts_failed),
            ("input_lost", counters.attempts_fetch_failed),
            ("cancelled", counters.attempts_cancelled),
            ("worker_lost", counters.attempts_lost),
        ];
        make.counters("tandem_coordinator_tasks_total", "Task attempts that ended, by outcome", "outcome", &outcomes)?;
        make.counter("tandem_coordinator_outputs_lost_total", "Task outputs made again", counters.outputs_lost)?;
        make.counter("tandem_coordinator_stages_finished_total", "Stages finished", counters.stages_finished)?;
        make.counter(
            "tandem_coordinator_stale_messages_total",
            "Messages of workers dropped because of their epoch",
            counters.stale_messages,
        )?;
        make.counter("tandem_coordinator_registrations_total", "Registrations of workers", counters.registrations)?;
        let gone = [("lost", counters.workers_lost), ("released", counters.workers_released)];
        make.counters("tandem_coordinator_workers_gone_total", "Workers that are gone, by cause", "cause", &gone)?;
        let leases = [
            ("granted", counters.leases_granted),
            ("revoked", counters.leases_revoked),
            ("refused", counters.leases_refused),
        ];
        make.counters("tandem_coordinator_leases_total", "Leases given, taken back and refused", "outcome", &leases)?;
        let groups = [
            ("reserved", counters.groups_reserved),
            ("removed", counters.groups_removed),
            ("failed", counters.groups_failed),
        ];
        make.counters(
            "tandem_coordinator_placement_groups_total",
            "Placement groups that got all their places, were removed, or that no workers can hold",
            "outcome",
            &groups,
        )?;
        let shuffled = [("local", counters.shuffle_local_bytes), ("remote", counters.shuffle_remote_bytes)];
        make.counters(
            "tandem_coordinator_shuffle_bytes_total",
            "Bytes of stage output that accepted attempts read, by where it was",
            "from",
            &shuffled,
        )?;
        make.seconds(
            "tandem_coordinator_fetch_wait_seconds_total",
            "Time that accepted attempts waited for stage output",
            counters.fetch_wait_ms as f64 / 1000.0,
        )?;
        make.counter(
            "tandem_coordinator_spilled_bytes_total",
            "Bytes accepted attempts spilled",
            counters.spilled_bytes,
        )
    }

    fn sources_and_sinks(&self, make: &Make) -> prometheus::Result<()> {
        let source_rows = make.labelled(
            "tandem_coordinator_source_rows_total",
            "Rows of each source that ended jobs \
            read (rejected ones included) and rejected",
            &["source", "outcome"],
        )?;
        let source_bytes = make.labelled(
            "tandem_coordinator_source_bytes_total",
            "Bytes of each source that ended jobs read",
            &["source"],
        )?;
        let sink_rows =
            make.labelled("tandem_coordinator_sink_rows_total", "Rows that ended jobs wrote to each sink", &["sink"])?;
        let sink_bytes = make.labelled(
            "tandem_coordinator_sink_bytes_total",
            "Bytes that ended jobs wrote to each sink",
            &["sink"],
        )?;
        for (kind, name, rows, bytes) in self.totals.iter() {
            match kind {
                CountKind::Read => {
                    source_rows.with_label_values(&[name, "read"]).inc_by(rows);
                    source_bytes.with_label_values(&[name]).inc_by(bytes);
                }
                CountKind::Rejected => source_rows.with_label_values(&[name, "rejected"]).inc_by(rows),
                CountKind::Written => {
                    sink_rows.with_label_values(&[name]).inc_by(rows);
                    sink_bytes.with_label_values(&[name]).inc_by(bytes);
                }
                CountKind::Step | CountKind::Warned | CountKind::Worked | CountKind::Timed => {}
            }
        }
        Ok(())
    }

    fn process(&self, make: &Make) -> prometheus::Result<()> {
        let resident = i64::try_from(process::resident_bytes()).unwrap_or(i64::MAX);
        make.gauge("tandem_coordinator_resident_memory_bytes", "Resident memory of this process", resident)?;
        make.seconds(
            "tandem_coordinator_cpu_seconds_total",
            "CPU time of this process",
            process::cpu_time().as_secs_f64(),
        )?;
        let uptime = Gauge::new("tandem_coordinator_uptime_seconds", "Time since this process started to serve")?;
        uptime.set(self.uptime_seconds);
        make.add(uptime)
    }
}

const JOB_STATES: [JobState; 5] =
    [JobState::Pending, JobState::Running, JobState::Succeeded, JobState::Failed, JobState::Stopped];
const NODE_STATES: [NodeState; 4] = [NodeState::Ready, NodeState::Draining, NodeState::Suspect, NodeState::Lost];

fn job_label(state: JobState) -> &'static str {
    match state {
        JobState::Pending => "pending",
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Stopped => "stopped",
    }
}

fn node_label(state: NodeState) -> &'static str {
    match state {
        NodeState::Ready => "ready",
        NodeState::Draining => "draining",
        NodeState::Suspect => "suspect",
        NodeState::Lost => "lost",
    }
}

/// Makes metrics with a value and registers them.
struct Make(Registry);

impl Make {
    fn add(&self, metric: impl Collector + 'static) -> prometheus::Result<()> {
        self.0.register(Box::new(metric))
    }

    fn gauge(&self, name: &str, help: &str, value: i64) -> prometheus::Result<()> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(value);
        self.add(gauge)
    }

    fn gauges(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &BTreeMap<&'static str, i64>,
    ) -> prometheus::Result<()> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
        for (state, value) in values {
            gauges.with_label_values(&[*state]).set(*value);
        }
        self.add(gauges)
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> prometheus::Result<()> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn seconds(&self, name: &str, help: &str, value: f64) -> prometheus::Result<()> {
        let counter = Counter::new(name, help)?;
        counter.inc_by(value);
        self.add(counter)
    }

    fn counters(&self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> prometheus::Result<()> {
        let counters = self.labelled(name, help, &[label])?;
        for (value, count) in values {
            counters.with_label_values(&[*value]).inc_by(*count);
        }
        Ok(())
    }

    fn labelled(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.add(counters.clone())?;
        Ok(counters)
    }
}
