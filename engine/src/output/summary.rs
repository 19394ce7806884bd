//! The report at the end of a job, for people: what was read and written, how long each stage took.

use std::io::Write;

use tandem_jobs::report::WorkCount;
use tandem_proto::JobId;
use tandem_proto::v1::{JobStatus, RowCount, RowCountKind};

use super::grid::print_grid;
use super::tell::tell_with;
use super::time::between;
use super::units::{format_bytes, format_count};
use super::views::{count_kind, job_state};

/// Prints the report of a job that has ended to standard error.
pub(crate) fn print_summary(status: &JobStatus) {
    tell_with(|out| write_summary(out, status));
}

fn write_summary(out: &mut dyn Write, status: &JobStatus) -> std::io::Result<()> {
    let time = between(status.submitted_ms, status.ended_ms);
    writeln!(out, "{} {} in {time} (job {})", status.name, job_state(status.state()), JobId(status.job))?;
    print_counts(out, status.counts.iter().filter(|count| !is_work(count)).collect())?;
    print_work(out, &WorkCount::of(&status.counts))?;
    print_stages(out, status)
}

/// Whether it counts what a function handled, rather than rows.
fn is_work(count: &RowCount) -> bool {
    matches!(count.kind(), RowCountKind::Worked | RowCountKind::Timed)
}

/// What functions handled, and how much in a second of their calls.
fn print_work(out: &mut dyn Write, work: &[WorkCount]) -> std::io::Result<()> {
    if work.is_empty() {
        return Ok(());
    }
    let cells = |work: &WorkCount| vec![work.name.clone(), format_count(work.count), format_count(work.per_second())];
    let rows: Vec<Vec<String>> = work.iter().map(cells).collect();
    print_grid(out, &["WORK", "COUNT", "A SECOND OF A CALL"].map(String::from), &rows)
}

fn print_counts(out: &mut dyn Write, mut counts: Vec<&RowCount>) -> std::io::Result<()> {
    if counts.is_empty() {
        return Ok(());
    }
    counts.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let rows: Vec<Vec<String>> = counts.into_iter().map(count_cells).collect();
    print_grid(out, &["", "NAME", "ROWS", "BYTES"].map(String::from), &rows)
}

fn count_cells(count: &RowCount) -> Vec<String> {
    let bytes = match count.kind() {
        RowCountKind::Read | RowCountKind::Written => format_bytes(count.bytes),
        RowCountKind::Rejected
        | RowCountKind::Step
        | RowCountKind::Warned
        | RowCountKind::Worked
        | RowCountKind::Timed
        | RowCountKind::Unspecified => String::new(),
    };
    vec![count_kind(count.kind()).to_owned(), count.name.clone(), format_count(count.rows), bytes]
}

fn print_stages(out: &mut dyn Write, status: &JobStatus) -> std::io::Result<()> {
    // A driver has neither rows nor parts.
    let rows: Vec<Vec<String>> = status
        .stages
        .iter()
        .filter(|stage| !stage.driver)
        .map(|stage| {
            vec![
                stage.stage.to_string(),
                stage.name.clone(),
                stage.tasks.to_string(),
                format_count(stage.rows),
                format_bytes(stage.bytes),
                between(stage.started_ms, stage.ended_ms),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    print_grid(out, &["STAGE", "NAME", "TASKS", "ROWS", "BYTES", "TIME"].map(String::from), &rows)
}
