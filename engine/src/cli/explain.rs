//! `tandem explain`: a statement's stages and plans; with `--analyze`, after running it, with what each operator did.

use std::io::Write;

use tandem_client::Client;
use tandem_proto::JobId;
use tandem_proto::v1::{self, OperatorMetrics, StageStatus};

use super::attached::{self, Interrupts, OnInterrupt};
use super::job_spec::QueryArgs;
use super::session::Session;
use super::{Failure, sql};
use crate::output::units::{format_bytes, format_count, format_duration};
use crate::output::{OutputFormat, StageView, between, print_list};

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Run the statement and show rows, bytes and time
    #[arg(long)]
    analyze: bool,
    /// Use a cluster of this command's own instead of the one that is up
    #[arg(long)]
    local: bool,
}

pub(super) async fn execute(args: ExplainArgs, session: &Session) -> Result<(), Failure> {
    let spec = args.query.spec()?;
    let format = session.format();
    sql::on_cluster(session, args.local, async |client| {
        let stages = if args.analyze { analyze(&client, spec).await? } else { client.explain(spec).await? };
        print_stages(format, stages, args.analyze)
    })
    .await
}

async fn analyze(client: &Client, spec: v1::JobSpec) -> Result<Vec<StageStatus>, Failure> {
    let submitted = client.submit(attached::submission(spec, true)).await?;
    let job = JobId(submitted.job);
    attached::follow(client, job, &mut Interrupts::new()?, OnInterrupt::Stop).await?;
    Ok(client.get(job).await?.stages)
}

/// Prints stages with their plans; with numbers if they have run.
pub(super) fn print_stages(format: OutputFormat, stages: Vec<StageStatus>, ran: bool) -> Result<(), Failure> {
    if format != OutputFormat::Table {
        let views: Vec<StageView> = stages.into_iter().map(StageView::from).collect();
        return print_list(format, &views);
    }
    let mut out = std::io::stdout().lock();
    for stage in &stages {
        if stage.taken_over_by > 0 {
            writeln!(out, "stage {}: {}: taken over by stage {}", stage.stage, stage.name, stage.taken_over_by)?;
            continue;
        }
        writeln!(out, "{}", heading(stage, ran))?;
        for line in annotated_plan(stage) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(out.flush()?)
}

fn heading(stage: &StageStatus, ran: bool) -> String {
    let inputs: Vec<String> = stage.inputs.iter().map(|input| format!("stage {input}")).collect();
    let from = if inputs.is_empty() { String::new() } else { format!(" from {}", inputs.join(", ")) };
    let tasks = if stage.tasks == 1 { "task" } else { "tasks" };
    let mut text = format!("stage {}: {}{from}: {} {tasks}", stage.stage, stage.name, stage.tasks);
    if !stage.needs.is_empty() {
        text.push_str(&format!(", each with {}", stage.needs));
    }
    if ran {
        text.push_str(&format!(", {} rows, {}", format_count(stage.rows), format_bytes(stage.bytes)));
        if stage.started_ms > 0 {
            text.push_str(&format!(", {}", between(stage.started_ms, stage.ended_ms)));
        }
    }
    text
}

/// The lines of the plan, each with what its operator did. A plan is printed in the order in which operators are numbered,
/// but an exchange on top of it, which the task does not run as an operator, has a line and no number.
fn annotated_plan(stage: &StageStatus) -> Vec<String> {
    let top = stage.operators.iter().min_by_key(|operator| operator.node);
    let unnumbered = top.and_then(|top| stage.plan.lines().position(|line| is_about(line, &top.name))).unwrap_or(0);
    let first = top.map_or(0, |top| top.node as usize);
    let measured = |line: usize| {
        let node = (line + first).checked_sub(unnumbered)?;
        stage.operators.iter().find(|operator| operator.node as usize == node)
    };
    let lines = stage.plan.lines().enumerate();
    lines
        .map(|(node, line)| measured(node).map_or_else(|| line.to_owned(), |done| format!("{line}{}", note(done))))
        .collect()
}

/// Whether a line of a plan shows the operator of this name; the name may have a detail in brackets.
fn is_about(line: &str, name: &str) -> bool {
    let word = |text: &str| text.trim_start().split(|c: char| !c.is_alphanumeric()).next().map(ToOwned::to_owned);
    word(line) == word(name)
}

fn note(operator: &OperatorMetrics) -> String {
    let time = format_duration(std::time::Duration::from_nanos(operator.elapsed_ns));
    let mut text = format!("  [{} rows, {time}", format_count(operator.output_rows));
    if operator.spilled_bytes > 0 {
        text.push_str(&format!(", {} spilled", format_bytes(operator.spilled_bytes)));
    }
    text.push(']');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_never_started_took_no_time() {
        let stage = StageStatus { stage: 2, name: "sort".to_owned(), tasks: 1, ended_ms: 7_000, ..Default::default() };
        assert_eq!(heading(&stage, true), "stage 2: sort: 1 task, 0 rows, 0 B");
        let started = StageStatus { started_ms: 4_000, ..stage };
        assert_eq!(heading(&started, true), "stage 2: sort: 1 task, 0 rows, 0 B, 3.0 s");
    }

    #[test]
    fn operators_are_noted_at_their_lines() {
        let operator = OperatorMetrics { node: 1, name: "ScanExec".to_owned(), output_rows: 9, ..Default::default() };
        let plan = "FilterExec: a > 1\n  ScanExec: sales".to_owned();
        let stage = StageStatus { plan, operators: vec![operator], ..Default::default() };
        assert_eq!(annotated_plan(&stage), ["FilterExec: a > 1", "  ScanExec: sales  [9 rows, 0 ms]"]);
    }

    #[test]
    fn an_exchange_on_top_has_no_number() {
        let operator = |node, name: &str| OperatorMetrics { node, name: name.to_owned(), ..Default::default() };
        let operators = vec![operator(0, "SortExec(TopK)"), operator(1, "ScanExec")];
        let plan = "RepartitionExec: Hash\n  SortExec: TopK\n    ScanExec: sales".to_owned();
        let stage = StageStatus { plan, operators, ..Default::default() };
        let noted = annotated_plan(&stage).into_iter().map(|line| line.contains('[')).collect::<Vec<_>>();
        assert_eq!(noted, [false, true, true]);
    }
}
