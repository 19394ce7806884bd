//! Counts, put in order.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use tandem_exec::function::work_prefix;
use tandem_exec::probe::{check_label, warning_name};
use tandem_proto::JobId;
use tandem_proto::v1::{JobState, JobStatus, RowCount, RowCountKind, StageStatus};

use crate::job_file::Removes;
use crate::planned::{ReportSink, ReportSource, ReportSpec, ReportStep};

/// Everything a report says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The job's id.
    pub job: String,
    /// Its name.
    pub name: String,
    /// Its state, such as `SUCCEEDED`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// When it was submitted.
    pub submitted: Option<String>,
    /// When it ended.
    pub ended: Option<String>,
    /// From submission to its end.
    pub duration_ms: u64,
    /// How often the whole job was started again.
    pub retries: u32,
    /// Rows on their way from a source to a sink, over all flows; what several share counts once.
    pub rows: Rows,
    /// What was read from storage.
    pub read: Transfer,
    /// What was written to storage; nothing unless the job succeeded.
    pub written: Transfer,
    /// The params it ran with.
    pub params: BTreeMap<String, String>,
    /// Each way from a source to a sink on which rows are passed on one by one.
    pub flows: Vec<FlowSummary>,
    /// Each source.
    pub sources: Vec<SourceSummary>,
    /// Each step.
    pub steps: Vec<StepSummary>,
    /// Each sink.
    pub sinks: Vec<SinkSummary>,
    /// Each check.
    pub checks: Vec<CheckSummary>,
    /// Conditions that only warn and that rows did not meet.
    pub warnings: Vec<WarningSummary>,
    /// Each stage.
    pub stages: Vec<StageSummary>,
}

/// Where rows went: in one flow, `read = rejected + dropped + deduplicated + written`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Read from files.
    pub read: u64,
    /// Could not be read as rows of the source.
    pub rejected: u64,
    /// Did not meet a step's conditions.
    pub dropped: u64,
    /// Another row with the same key was kept.
    pub deduplicated: u64,
    /// Written to files.
    pub written: u64,
}

impl Rows {
    /// Whether every row read is accounted for.
    pub fn adds_up(&self) -> bool {
        self.read == self.rejected + self.dropped + self.deduplicated + self.written
    }

    /// What these read, removed and wrote.
    fn over<'s>(
        sources: impl IntoIterator<Item = &'s SourceSummary>,
        steps: impl IntoIterator<Item = &'s StepSummary>,
        sinks: impl IntoIterator<Item = &'s SinkSummary>,
    ) -> Self {
        let mut rows = Self::default();
        for source in sources {
            rows.read += source.rows_read;
            rows.rejected += source.rows_rejected;
        }
        for step in steps {
            rows.dropped += step.rows_dropped;
            rows.deduplicated += step.rows_deduplicated;
        }
        rows.written = sinks.into_iter().map(|sink| sink.rows_written).sum();
        rows
    }
}

/// Rows and bytes that went through storage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The rows of one source that one sink writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlowSummary {
    /// The source.
    pub source: String,
    /// The sink.
    pub sink: String,
    /// Where its rows went.
    #[serde(flatten)]
    pub rows: Rows,
    /// Whether every row read is accounted for.
    pub adds_up: bool,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// What it read.
    pub paths: Vec<String>,
    /// Rows read, rejected ones included.
    pub rows_read: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Rows rejected.
    pub rows_rejected: u64,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepSummary {
    /// Its name.
    pub name: String,
    /// The table whose rows flow through it.
    pub input: Option<String>,
    /// Rows of that table.
    pub rows_in: Option<u64>,
    /// Rows that came out.
    pub rows_out: u64,
    /// Rows that did not meet its conditions.
    pub rows_dropped: u64,
    /// Rows that repeated others.
    pub rows_deduplicated: u64,
    /// What its function did beside giving rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub work: Vec<WorkSummary>,
}

/// What a function handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkSummary {
    /// What was counted, such as `tokens`.
    pub unit: String,
    /// What did it, such as `cpu, bf16`.
    pub device: String,
    /// How many.
    pub count: u64,
    /// Time that calls took for it, all together.
    pub busy_ms: u64,
    /// How many in a second of one call.
    pub per_second: u64,
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkSummary {
    /// Its name.
    pub name: String,
    /// The table it wrote.
    pub from: String,
    /// Where.
    pub path: String,
    /// Rows written.
    pub rows_written: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckSummary {
    /// The step.
    pub step: String,
    /// The check, as it is written.
    pub check: String,
    /// Whether it held; none when the job ended before that was known.
    pub passed: Option<bool>,
}

/// A condition that only warns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WarningSummary {
    /// The step.
    pub step: String,
    /// The condition, as it is written.
    pub condition: String,
    /// Rows that do not meet it; more than 0.
    pub rows: u64,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StageSummary {
    /// Its id.
    pub stage: u32,
    /// Its name.
    pub name: String,
    /// The stages it reads.
    pub inputs: Vec<u32>,
    /// Its tasks.
    pub tasks: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// Rows it put out.
    pub rows: u64,
    /// Bytes it put out.
    pub bytes: u64,
    /// From its first task's start to its last one's end.
    pub duration_ms: u64,
}

/// What functions handled of one unit on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkCount {
    /// `step: unit on device`.
    pub name: String,
    /// How many.
    pub count: u64,
    /// Microseconds that calls took for it, all together.
    pub busy_us: u64,
}

impl WorkCount {
    /// All that a job has counted, by name.
    pub fn of(counts: &[RowCount]) -> Vec<Self> {
        Counts::new(counts).work()
    }

    /// How many in a second of one call.
    pub fn per_second(&self) -> u64 {
        (u128::from(self.count) * 1_000_000 / u128::from(self.busy_us.max(1))) as u64
    }
}

/// Rows and bytes by kind and name.
struct Counts(HashMap<(i32, String), Transfer>);

impl Counts {
    fn new(counted: &[RowCount]) -> Self {
        let mut counts: HashMap<(i32, String), Transfer> = HashMap::new();
        for count in counted {
            let total = counts.entry((count.kind, count.name.clone())).or_default();
            total.rows += count.rows;
            total.bytes += count.bytes;
        }
        Self(counts)
    }

    /// What sinks have written is not there for readers.
    fn forget_written(&mut self) {
        self.0.retain(|(kind, _), _| *kind != RowCountKind::Written as i32);
    }

    fn of(&self, kind: RowCountKind, name: &str) -> Transfer {
        self.0.get(&(kind as i32, name.to_owned())).copied().unwrap_or_default()
    }

    /// What a source read. One whose reader does not count is counted by a probe, once for each time it is read.
    fn read_by(&self, source: &ReportSource) -> Transfer {
        let Some(file_bytes) = source.uncounted_bytes else { return self.of(RowCountKind::Read, &source.name) };
        let probed = self.of(RowCountKind::Step, &source.name).rows;
        Transfer { rows: probed / source.scans.max(1) as u64, bytes: if probed > 0 { file_bytes } else { 0 } }
    }

    /// What functions handled, by name.
    fn work(&self) -> Vec<WorkCount> {
        let worked = self.0.iter().filter(|((kind, _), _)| *kind == RowCountKind::Worked as i32);
        let count = |((_, name), worked): (&(i32, String), &Transfer)| WorkCount {
            name: name.clone(),
            count: worked.rows,
            busy_us: self.of(RowCountKind::Timed, name).rows,
        };
        let mut work: Vec<WorkCount> = worked.map(count).collect();
        work.sort_by(|a, b| a.name.cmp(&b.name));
        work
    }

    /// What the function of a step handled, by unit and device.
    fn work_of(&self, step: &str) -> Vec<WorkSummary> {
        let prefix = work_prefix(step);
        let of_step = |work: &WorkCount| {
            let (unit, device) = work.name.strip_prefix(&prefix)?.split_once(" on ")?;
            Some(WorkSummary {
                unit: unit.to_owned(),
                device: device.to_owned(),
                count: work.count,
                busy_ms: work.busy_us / 1000,
                per_second: work.per_second(),
            })
        };
        self.work().iter().filter_map(of_step).collect()
    }

    /// Rows that each reader of the table `name` got.
    fn rows_of_table(&self, name: &str, spec: &ReportSpec) -> u64 {
        match spec.sources.iter().find(|source| source.name == name) {
            Some(source) => self.read_by(source).rows.saturating_sub(self.of(RowCountKind::Rejected, name).rows),
            None => self.of(RowCountKind::Step, name).rows,
        }
    }
}

pub(super) fn summarize(status: &JobStatus, spec: &ReportSpec) -> Summary {
    let mut counts = Counts::new(&status.counts);
    if status.state() != JobState::Succeeded {
        counts.forget_written();
    }
    let sources: Vec<SourceSummary> = spec.sources.iter().map(|source| summarize_source(source, &counts)).collect();
    let steps: Vec<StepSummary> = spec.steps.iter().map(|step| summarize_step(step, spec, &counts)).collect();
    let sinks: Vec<SinkSummary> = spec.sinks.iter().map(|sink| summarize_sink(sink, &counts)).collect();
    let ways: Vec<Way<'_>> = sinks.iter().filter_map(|sink| Way::back_from(sink, &sources, &steps)).collect();
    let rows = total_rows(&ways, &sources, &sinks);
    let flows = ways.iter().map(Way::flow).collect();
    Summary {
        job: JobId(status.job).to_string(),
        name: status.name.clone(),
        state: state_name(status),
        failure: status.failure.as_ref().map(|failure| failure.cause.clone()),
        submitted: time(status.submitted_ms),
        ended: time(status.ended_ms),
        duration_ms: between(status.submitted_ms, status.ended_ms),
        retries: status.retries_used,
        rows,
        read: total(sources.iter().map(|source| (source.rows_read, source.bytes_read))),
        written: total(sinks.iter().map(|sink| (sink.rows_written, sink.bytes_written))),
        params: spec.params.iter().cloned().collect(),
        checks: checks(status, spec),
        warnings: warnings(spec, &counts),
        stages: status.stages.iter().filter(|stage| stage.taken_over_by == 0).map(summarize_stage).collect(),
        flows,
        sources,
        steps,
        sinks,
    }
}

fn summarize_source(source: &ReportSource, counts: &Counts) -> SourceSummary {
    let read = counts.read_by(source);
    SourceSummary {
        name: source.name.clone(),
        paths: source.paths.clone(),
        rows_read: read.rows,
        bytes_read: read.bytes,
        rows_rejected: counts.of(RowCountKind::Rejected, &source.name).rows,
    }
}

fn summarize_sink(sink: &ReportSink, counts: &Counts) -> SinkSummary {
    let written = counts.of(RowCountKind::Written, &sink.name);
    SinkSummary {
        name: sink.name.clone(),
        from: sink.from.clone(),
        path: sink.path.clone(),
        rows_written: written.rows,
        bytes_written: written.bytes,
    }
}

fn summarize_step(step: &ReportStep, spec: &ReportSpec, counts: &Counts) -> StepSummary {
    let rows_out = counts.of(RowCountKind::Step, &step.name).rows;
    let rows_in = step.input.as_deref().map(|input| counts.rows_of_table(input, spec));
    let removed = rows_in.unwrap_or(rows_out).saturating_sub(rows_out);
    let (rows_dropped, rows_deduplicated) = match step.removes {
        Removes::Dropped => (removed, 0),
        Removes::Deduplicated => (0, removed),
    };
    StepSummary {
        name: step.name.clone(),
        input: step.input.clone(),
        rows_in,
        rows_out,
        rows_dropped,
        rows_deduplicated,
        work: counts.work_of(&step.name),
    }
}

/// The way of rows from the source that a sink's come from to that sink.
struct Way<'s> {
    source: &'s SourceSummary,
    /// Those on the way, the last first.
    steps: Vec<&'s StepSummary>,
    sink: &'s SinkSummary,
}

impl<'s> Way<'s> {
    /// Follows the rows of `sink` back to the source they come from, if they come from one.
    fn back_from(sink: &'s SinkSummary, sources: &'s [SourceSummary], steps: &'s [StepSummary]) -> Option<Self> {
        let (mut table, mut passed) = (sink.from.as_str(), Vec::new());
        // A step's input stands above it, so this comes to an end.
        while let Some(step) = steps.iter().find(|step| step.name == table) {
            passed.push(step);
            table = step.input.as_deref()?;
        }
        let source = sources.iter().find(|source| source.name == table)?;
        Some(Self { source, steps: passed, sink })
    }

    fn flow(&self) -> FlowSummary {
        let rows = Rows::over([self.source], self.steps.iter().copied(), [self.sink]);
        FlowSummary { source: self.source.name.clone(), sink: self.sink.name.clone(), adds_up: rows.adds_up(), rows }
    }
}

/// The rows of all flows; without any, what was read and written.
fn total_rows(ways: &[Way<'_>], sources: &[SourceSummary], sinks: &[SinkSummary]) -> Rows {
    if ways.is_empty() {
        return Rows::over(sources, [], sinks);
    }
    let sources: BTreeMap<_, _> = ways.iter().map(|way| (&way.source.name, way.source)).collect();
    let steps: BTreeMap<_, _> = ways.iter().flat_map(|way| &way.steps).map(|step| (&step.name, *step)).collect();
    Rows::over(sources.into_values(), steps.into_values(), ways.iter().map(|way| way.sink))
}

fn total(transfers: impl Iterator<Item = (u64, u64)>) -> Transfer {
    transfers
        .fold(Transfer::default(), |sum, (rows, bytes)| Transfer { rows: sum.rows + rows, bytes: sum.bytes + bytes })
}

fn checks(status: &JobStatus, spec: &ReportSpec) -> Vec<CheckSummary> {
    let cause = status.failure.as_ref().map_or("", |failure| failure.cause.as_str());
    let verdict = |step: &str, check: &str| match status.state() {
        JobState::Succeeded => Some(true),
        _ if cause.contains(&check_label(step, check)) => Some(false),
        _ => None,
    };
    let of_step = |step: &ReportStep| -> Vec<CheckSummary> {
        let summary = |check: &String| CheckSummary {
            step: step.name.clone(),
            check: check.clone(),
            passed: verdict(&step.name, check),
        };
        step.checks.iter().map(summary).collect()
    };
    spec.steps.iter().flat_map(of_step).collect()
}

fn warnings(spec: &ReportSpec, counts: &Counts) -> Vec<WarningSummary> {
    let of_step = |step: &ReportStep| -> Vec<WarningSummary> {
        let warning = |condition: &String| {
            let rows = counts.of(RowCountKind::Warned, &warning_name(&step.name, condition)).rows;
            (rows > 0).then(|| WarningSummary { step: step.name.clone(), condition: condition.clone(), rows })
        };
        step.warnings.iter().filter_map(warning).collect()
    };
    spec.steps.iter().flat_map(of_step).collect()
}

fn summarize_stage(stage: &StageStatus) -> StageSummary {
    StageSummary {
        stage: stage.stage,
        name: stage.name.clone(),
        inputs: stage.inputs.clone(),
        tasks: stage.tasks,
        failed_attempts: stage.failed_attempts,
        rows: stage.rows,
        bytes: stage.bytes,
        duration_ms: between(stage.started_ms, stage.ended_ms),
    }
}

fn state_name(status: &JobStatus) -> String {
    status.state().as_str_name().trim_start_matches("JOB_STATE_").to_owned()
}

/// ISO 8601 in UTC; none for a time that has not come.
fn time(ms: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(ms).filter(|_| ms > 0)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn between(start_ms: i64, end_ms: i64) -> u64 {
    if start_ms > 0 { end_ms.saturating_sub(start_ms).max(0).unsigned_abs() } else { 0 }
}
