//! The report that people read.

use std::fmt::Write;

use super::summary::Summary;

pub(super) fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut out, summary);
    out
}

fn write_report(out: &mut String, summary: &Summary) -> std::fmt::Result {
    let seconds = summary.duration_ms as f64 / 1000.0;
    writeln!(out, "# {}: {}\n", summary.name, summary.state)?;
    writeln!(
        out,
        "Job {}, submitted {}, took {seconds:.1} s.\n",
        summary.job,
        summary.submitted.as_deref().unwrap_or("never")
    )?;
    if let Some(failure) = &summary.failure {
        writeln!(out, "**Failed**: {}\n", escape(failure))?;
    }
    let rows = &summary.rows;
    let counted = [rows.read, rows.rejected, rows.dropped, rows.deduplicated, rows.written];
    // What a program reads and writes is its own business.
    let has_tables = !summary.sources.is_empty() || !summary.sinks.is_empty();
    table(
        out,
        "Rows",
        &["read", "rejected", "dropped", "deduplicated", "written"],
        has_tables.then(|| counted.map(number).to_vec()),
    )?;
    table(
        out,
        "Sources",
        &["source", "files", "rows", "bytes", "rejected"],
        summary.sources.iter().map(|source| {
            vec![
                source.name.clone(),
                escape(&source.paths.join(" ")),
                number(source.rows_read),
                number(source.bytes_read),
                number(source.rows_rejected),
            ]
        }),
    )?;
    table(
        out,
        "Steps",
        &["step", "input", "rows in", "rows out", "dropped", "deduplicated"],
        summary.steps.iter().map(|step| {
            let input = step.input.clone().unwrap_or_default();
            let rows_in = step.rows_in.map(number).unwrap_or_default();
            vec![
                step.name.clone(),
                input,
                rows_in,
                number(step.rows_out),
                number(step.rows_dropped),
                number(step.rows_deduplicated),
            ]
        }),
    )?;
    let work = summary.steps.iter().flat_map(|step| step.work.iter().map(move |work| (step, work)));
    table(
        out,
        "Work of functions",
        &["step", "what", "on", "count", "ms of calls", "a second of a call"],
        work.map(|(step, work)| {
            let [count, busy, rate] = [work.count, work.busy_ms, work.per_second].map(number);
            vec![step.name.clone(), escape(&work.unit), escape(&work.device), count, busy, rate]
        }),
    )?;
    table(
        out,
        "Sinks",
        &["sink", "from", "path", "rows", "bytes"],
        summary.sinks.iter().map(|sink| {
            vec![
                sink.name.clone(),
                sink.from.clone(),
                escape(&sink.path),
                number(sink.rows_written),
                number(sink.bytes_written),
            ]
        }),
    )?;
    table(
        out,
        "Checks",
        &["step", "check", "result"],
        summary.checks.iter().map(|check| {
            let result = match check.passed {
                Some(true) => "passed",
                Some(false) => "broken",
                None => "not known",
            };
            vec![check.step.clone(), escape(&check.check), result.to_owned()]
        }),
    )?;
    table(
        out,
        "Warnings",
        &["step", "rows should meet", "rows that do not"],
        summary
            .warnings
            .iter()
            .map(|warning| vec![warning.step.clone(), escape(&warning.condition), number(warning.rows)]),
    )?;
    table(
        out,
        "Stages",
        &["stage", "name", "tasks", "failed attempts", "rows", "bytes", "ms"],
        summary.stages.iter().map(|stage| {
            let counts = [stage.rows, stage.bytes, stage.duration_ms].map(number);
            let mut cells = vec![
                stage.stage.to_string(),
                escape(&stage.name),
                stage.tasks.to_string(),
                stage.failed_attempts.to_string(),
            ];
            cells.extend(counts);
            cells
        }),
    )
}

/// A section with a table; nothing when there are no rows.
fn table(
    out: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> std::fmt::Result {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "## {title}\n\n| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len()))?;
    for row in rows {
        writeln!(out, "| {} |", row.join(" | "))?;
    }
    writeln!(out)
}

/// `1234567` as `1,234,567`.
fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Text that cannot break a table.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
