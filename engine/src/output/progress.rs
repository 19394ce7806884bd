//! How a running job is shown: bars on a terminal, plain lines elsewhere. Owned by whoever follows the job; nothing is
//! left on a terminal when it is dropped.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tandem_proto::v1::{JobStatus, StageStatus};

use super::tell::tell;
use super::units::{format_bytes, format_count, format_duration};

/// Plain lines come at most this often, unless the job ends.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// The display of one job's progress, on standard error.
pub(crate) enum Progress {
    /// A terminal.
    Bars { bars: MultiProgress, stages: BTreeMap<u32, ProgressBar> },
    /// A file or pipe.
    Lines { next: Instant, last: String },
}

impl Progress {
    /// Bars if standard error is a terminal, else lines.
    pub(crate) fn new() -> Self {
        if std::io::stderr().is_terminal() {
            let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            Self::Bars { bars, stages: BTreeMap::new() }
        } else {
            Self::Lines { next: Instant::now() + LINE_INTERVAL, last: String::new() }
        }
    }

    /// Shows a new status.
    pub(crate) fn update(&mut self, status: &JobStatus) {
        match self {
            Self::Bars { bars, stages } => {
                for stage in &status.stages {
                    if stage.taken_over_by > 0 || stage.driver {
                        if let Some(bar) = stages.remove(&stage.stage) {
                            bars.remove(&bar);
                        }
                        continue;
                    }
                    let bar = stages.entry(stage.stage).or_insert_with(|| bars.add(stage_bar(stage)));
                    bar.set_length(u64::from(stage.tasks));
                    bar.set_position(u64::from(stage.finished));
                    bar.set_message(stage_message(stage));
                }
            }
            Self::Lines { next, last } => {
                let line = status_line(status);
                if Instant::now() >= *next && !line.is_empty() && *last != line {
                    tell!("{line}");
                    *next = Instant::now() + LINE_INTERVAL;
                    *last = line;
                }
            }
        }
    }

    /// Takes the display away.
    pub(crate) fn clear(&self) {
        if let Self::Bars { bars, .. } = self {
            // A terminal that cannot be written to has nothing to clear.
            let _ = bars.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn stage_bar(stage: &StageStatus) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:30!} {bar:24} {pos:>4}/{len:<4} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::from(stage.tasks)).with_style(style).with_prefix(format!("{} {}", stage.stage, stage.name))
}

/// Why it waits, or how far it is.
fn stage_message(stage: &StageStatus) -> String {
    let waits = stage.running == 0 && stage.pending > 0 && !stage.pending_text.is_empty();
    if waits { stage.pending_text.clone() } else { stage_numbers(stage) }
}

fn stage_numbers(stage: &StageStatus) -> String {
    let mut text = format!("{} rows, {}", format_count(stage.rows), format_bytes(stage.bytes));
    if let Some(left) = time_left(stage) {
        text.push_str(&format!(", {} left", format_duration(left)));
    }
    text
}

/// By the tasks that are done; none before the first is, and none after the last.
fn time_left(stage: &StageStatus) -> Option<Duration> {
    let open = stage.tasks.checked_sub(stage.finished).filter(|open| *open > 0)?;
    if stage.finished == 0 || stage.started_ms == 0 {
        return None;
    }
    let spent = u64::try_from(super::since_epoch_ms() - stage.started_ms).ok()?;
    Some(Duration::from_millis(spent * u64::from(open) / u64::from(stage.finished)))
}

/// The stages that run, or why none does. Empty when there is no reason, as between two stages.
fn status_line(status: &JobStatus) -> String {
    let running: Vec<String> = status
        .stages
        .iter()
        .filter(|stage| stage.running > 0)
        .map(|stage| {
            if stage.driver {
                return "the driver runs".to_owned();
            }
            let StageStatus { stage: id, name, finished, tasks, .. } = stage;
            format!("stage {id} {name} {finished}/{tasks} tasks, {}", stage_numbers(stage))
        })
        .collect();
    match (running.is_empty(), status.pending_text.is_empty()) {
        (false, _) => format!("{}: {}", status.name, running.join("; ")),
        (true, false) => format!("{}: {}", status.name, status.pending_text),
        (true, true) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(finished: u32) -> StageStatus {
        let started_ms = super::super::since_epoch_ms() - 10_000;
        StageStatus {
            stage: 1,
            name: "scan".to_owned(),
            tasks: 4,
            running: 1,
            finished,
            started_ms,
            ..Default::default()
        }
    }

    #[test]
    fn time_left_comes_from_finished_tasks() {
        assert_eq!(time_left(&stage(0)), None);
        assert_eq!(time_left(&stage(4)), None);
        let left = time_left(&stage(2)).unwrap();
        assert!(left >= Duration::from_secs(9) && left < Duration::from_secs(60), "{left:?}");
    }

    #[test]
    fn a_bar_says_why_its_stage_waits() {
        let mut stage = StageStatus { pending: 4, pending_text: "waits for a GPU".to_owned(), ..stage(0) };
        assert_eq!(stage_message(&stage), "0 rows, 0 B");
        stage.running = 0;
        assert_eq!(stage_message(&stage), "waits for a GPU");
    }

    #[test]
    fn a_line_says_what_runs_or_why_nothing_does() {
        let mut status = JobStatus { name: "sales".to_owned(), stages: vec![stage(0)], ..Default::default() };
        assert_eq!(status_line(&status), "sales: stage 1 scan 0/4 tasks, 0 rows, 0 B");
        status.stages[0].running = 0;
        status.pending_text = "waits for a worker".to_owned();
        assert_eq!(status_line(&status), "sales: waits for a worker");
        status.pending_text.clear();
        assert_eq!(status_line(&status), "");
    }
}
