//! Plans a job file: its sources, steps and sinks, into one graph of stages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use tandem_exec::cutter::GraphBuilder;
use tandem_exec::error::PlanError;
use tandem_exec::probe::probe;
use tandem_exec::sink::{
    SinkSpec, check_append, check_schema, check_separate, check_target, check_writable, rejects_sink,
};
use tandem_exec::source::{OnBadRow, SourceSpec};
use tandem_graph::StageGraph;
use tandem_proto::v1;

use super::ClusterShape;
use super::session::PlanSession;
use super::sql_text::locate;
use super::step::{self, PlannedStep};
use super::tables::{Resolved, Uses, scan_of_stage};
use crate::job_file::{JobFile, Sink};
use crate::planned::{PlannedJob, PlannedProgram, ReportSink, ReportSource, ReportSpec, ReportStep};
use crate::report::files_in;

pub(super) async fn plan(
    spec: &v1::JobSpec,
    text: &v1::JobFile,
    cluster: &ClusterShape,
) -> Result<PlannedJob, PlanError> {
    let overrides = text.params.clone().into_iter().collect();
    let origin = if text.origin.is_empty() { "the job file" } else { &text.origin };
    let file = JobFile::parse(&text.toml, origin, &overrides)?;
    let mut environment = file.environment.clone();
    environment.extend(spec.environment.clone());
    let secrets: BTreeMap<String, String> = spec.secrets.clone().into_iter().collect();
    let credentials = environment.iter().chain(&secrets).map(|(k, v)| (k.clone(), v.clone())).collect();
    let mut session = PlanSession::new(*cluster, BTreeMap::new(), credentials, &text.base_dir)?;

    let sources = open_sources(&mut session, &file).await?;
    session.fit_partitions()?;
    let steps = plan_steps(&mut session, &file).await?;
    let sinks = plan_sinks(&session, &file)?;
    check_targets(&session, &file, &sources, &sinks).await?;
    let uses = count_uses(&file, &steps)?;
    let graph = build_graph(&session, &file, &sources, &steps, &sinks, &uses).await?;
    Ok(PlannedJob {
        name: if spec.name.is_empty() { file.name.clone() } else { spec.name.clone() },
        graph,
        report: report(&session, &file, &sources, &steps, &sinks, &uses)?,
        race_stragglers: session.adaptive().race_stragglers,
        settings: session.settings,
        result: None,
        sinks: sinks.into_iter().chain(reject_sinks(&sources)).collect(),
        count_checks: steps.iter().filter_map(PlannedStep::count_check).collect(),
        environment,
        secrets,
        retries: file.retries,
        timeout_ms: file.timeout.map(|time| time.as_millis().try_into().unwrap_or(u64::MAX)),
        program: program(&file, text)?,
    })
}

/// What the executors of the job run: its package, or what is built in.
fn program(file: &JobFile, text: &v1::JobFile) -> Result<Option<PlannedProgram>, PlanError> {
    match (&file.package, &text.program) {
        (None, _) => Ok(file.runs_functions().then(PlannedProgram::default)),
        (Some(_), Some(program)) if !program.package.is_empty() => super::program::checked(program).map(Some),
        (Some(path), _) => {
            Err(PlanError::invalid(format!("{}: package `{path}` did not come with the job", file.origin)))
        }
    }
}

/// A source whose files have been looked at.
struct Source {
    /// With absolute paths.
    spec: SourceSpec,
    /// The size of its files, when its reader does not count what it reads: DataFusion's readers, of Parquet and Arrow, do not.
    uncounted_bytes: Option<u64>,
}

async fn open_sources(session: &mut PlanSession, file: &JobFile) -> Result<Vec<Source>, PlanError> {
    let mut opened = Vec::with_capacity(file.sources.len());
    for source in &file.sources {
        let place = |error| locate(error, file.place(source.line));
        opened.push(open_source(session, source.spec.clone()).await.map_err(place)?);
    }
    Ok(opened)
}

async fn open_source(session: &mut PlanSession, mut spec: SourceSpec) -> Result<Source, PlanError> {
    for path in spec.path.iter_mut() {
        *path = session.absolute(path)?;
    }
    spec.rejects = spec.rejects.as_deref().map(|path| session.absolute(path)).transpose()?;
    let opened = session.open(&spec).await?;
    Ok(Source { spec, uncounted_bytes: (!opened.counts_itself).then_some(opened.bytes) })
}

/// Plans each step over the tables above it. To those below, it is an empty table of its schema for now.
async fn plan_steps<'f>(session: &mut PlanSession, file: &'f JobFile) -> Result<Vec<PlannedStep<'f>>, PlanError> {
    let mut steps = Vec::with_capacity(file.steps.len());
    for step in &file.steps {
        let planned = step::plan(session, file, step).await?;
        session.register(&step.name, Arc::new(EmptyTable::new(planned.schema())))?;
        steps.push(planned);
    }
    Ok(steps)
}

/// The sinks with absolute paths.
fn plan_sinks(session: &PlanSession, file: &JobFile) -> Result<Vec<SinkSpec>, PlanError> {
    let absolute = |sink: &Sink| -> Result<SinkSpec, PlanError> {
        let mut spec = sink.spec.clone();
        spec.path = session.absolute(&spec.path)?;
        Ok(spec)
    };
    file.sinks.iter().map(|sink| absolute(sink).map_err(|error| locate(error, file.place(sink.line)))).collect()
}

/// Looks at where the job would write, before anything runs.
async fn check_targets(
    session: &PlanSession,
    file: &JobFile,
    sources: &[Source],
    sinks: &[SinkSpec],
) -> Result<(), PlanError> {
    let targets: Vec<SinkSpec> = sinks.iter().cloned().chain(reject_sinks(sources)).collect();
    let read: Vec<(String, String)> = sources
        .iter()
        .flat_map(|Source { spec, .. }| spec.path.iter().map(|path| (spec.name.clone(), path.to_owned())))
        .collect();
    let folder = report_folder(session, file)?;
    let report = folder.as_deref().map_or_else(Vec::new, |folder| files_in(folder).into());
    check_separate(&targets, &read, &report, &session.storage)?;
    for target in &targets {
        check_target(target, &session.storage).await?;
    }
    if let Some(folder) = &folder
        && let Some(folder) = session.storage.resolve(folder, Path::new(""))?.local_path()
    {
        check_writable("report", &folder)?;
    }
    Ok(())
}

/// The absolute folder that the run's report is written to.
fn report_folder(session: &PlanSession, file: &JobFile) -> Result<Option<String>, PlanError> {
    file.report.as_deref().map(|path| session.absolute(path)).transpose()
}

/// One sink for each folder of rejects, whether one source or several reject into it.
fn reject_sinks(sources: &[Source]) -> Vec<SinkSpec> {
    let folders: BTreeSet<&str> = sources.iter().filter_map(|source| rejects_of(&source.spec)).collect();
    folders.into_iter().map(rejects_sink).collect()
}

fn rejects_of(source: &SourceSpec) -> Option<&str> {
    source.rejects.as_deref().filter(|_| source.bad_row_policy() == OnBadRow::Reject)
}

async fn build_graph(
    session: &PlanSession,
    file: &JobFile,
    sources: &[Source],
    steps: &[PlannedStep<'_>],
    sinks: &[SinkSpec],
    uses: &Uses,
) -> Result<StageGraph, PlanError> {
    let mut graph = GraphBuilder::new(session.adaptive());
    let mut resolved = Resolved::default();
    for source in sources {
        let name = &source.spec.name;
        if source.uncounted_bytes.is_some() {
            resolved.insert(name, probe(session.scan(name).await?, name, Vec::new()));
        } else if uses.of(name) > 1 {
            // Text is parsed, counted and rejected once.
            let scan = session.scan(name).await?;
            resolved.insert(name, stage_table(session, &mut graph, name, &scan).await?);
        }
    }
    for planned in steps.iter().filter(|planned| uses.of(&planned.step.name) > 0) {
        let name = &planned.step.name;
        let rows = planned.rows(session, resolved.fill(planned.plan.clone())?).await;
        let mut plan = rows.map_err(|error| planned.in_context(error))?;
        if uses.of(name) > 1 {
            let table = stage_table(session, &mut graph, name, &plan).await;
            plan = table.map_err(|error| planned.in_context(error))?;
        }
        resolved.insert(name, plan);
    }
    for (sink, spec) in file.sinks.iter().zip(sinks) {
        let plan = match resolved.get(&sink.from) {
            Some(plan) => plan.clone(),
            None => session.scan(&sink.from).await?,
        };
        let plan = session.context.state().create_physical_plan(&plan).await?;
        let place = |error| locate(error, file.place(sink.line));
        check_schema(spec, &plan.schema()).map_err(place)?;
        check_append(spec, &plan.schema(), &session.storage, &session.context).await.map_err(place)?;
        graph.add_sink(if spec.is_single_file() { one_partition(plan) } else { plan }, spec)?;
    }
    Ok(graph.finish())
}

/// How often each table is read by what a sink needs, counting from the sinks back. A step with checks is needed too, to its
/// last row.
fn count_uses(file: &JobFile, steps: &[PlannedStep<'_>]) -> Result<Uses, PlanError> {
    let mut uses = Uses::default();
    for sink in &file.sinks {
        uses.add_table(&sink.from, 1);
    }
    for planned in steps.iter().rev() {
        let name = &planned.step.name;
        if !planned.step.checks.is_empty() && (uses.of(name) == 0 || uses.partly(name)) {
            // What nothing reads, or not to the end, must be a stage to run, and to its end.
            uses.add_table(name, 2);
        }
        // A step of its own reads its tables once, however often it is read, and to the end.
        let partly = uses.of(name) == 1 && uses.partly(name);
        uses.add(&planned.plan, usize::from(uses.of(name) > 0), partly)?;
    }
    Ok(uses)
}

/// Makes `plan` a stage and returns what reads it.
async fn stage_table(
    session: &PlanSession,
    graph: &mut GraphBuilder,
    name: &str,
    plan: &LogicalPlan,
) -> Result<LogicalPlan, PlanError> {
    let physical = session.context.state().create_physical_plan(plan).await?;
    Ok(scan_of_stage(name, graph.add_table(physical)?)?)
}

/// The same rows in one partition, in the same order.
fn one_partition(plan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    if plan.output_partitioning().partition_count() == 1 {
        return plan;
    }
    match plan.output_ordering().cloned() {
        Some(order) => Arc::new(SortPreservingMergeExec::new(order, plan)),
        None => Arc::new(CoalescePartitionsExec::new(plan)),
    }
}

fn report(
    session: &PlanSession,
    file: &JobFile,
    sources: &[Source],
    steps: &[PlannedStep<'_>],
    sinks: &[SinkSpec],
    uses: &Uses,
) -> Result<ReportSpec, PlanError> {
    let source = |source: &Source| ReportSource {
        name: source.spec.name.clone(),
        paths: source.spec.path.iter().map(str::to_owned).collect(),
        uncounted_bytes: source.uncounted_bytes,
        scans: uses.of(&source.spec.name),
    };
    let step = |planned: &PlannedStep<'_>| ReportStep {
        name: planned.step.name.clone(),
        input: planned.input.clone(),
        removes: planned.step.removes.unwrap_or_default(),
        checks: planned.step.checks.clone(),
        warnings: planned.step.warnings.clone(),
    };
    let sink = |(sink, spec): (&Sink, &SinkSpec)| ReportSink {
        name: spec.name.clone(),
        from: sink.from.clone(),
        path: spec.path.clone(),
    };
    Ok(ReportSpec {
        folder: report_folder(session, file)?,
        params: file.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        sources: sources.iter().map(source).collect(),
        steps: steps.iter().map(step).collect(),
        sinks: file.sinks.iter().zip(sinks).map(sink).collect(),
    })
}
