//! Plans one SQL statement whose rows go to the client.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::{ExecutionPlan, collect_partitioned, displayable};
use datafusion::sql::parser::Statement;
use tandem_exec::cutter::GraphBuilder;
use tandem_exec::error::PlanError;
use tandem_exec::source::SourceSpec;
use tandem_graph::StageGraph;
use tandem_ipc::encode_schema;
use tandem_proto::v1;

use super::ClusterShape;
use super::session::PlanSession;
use super::sql_text::SqlText;
use super::statement::{self, Kind};
use crate::job_file::{SOURCE_COMPRESSIONS, SOURCE_FORMATS, suggestion};
use crate::planned::{PlannedJob, ReportSpec, ResultInfo};

pub(super) async fn plan(
    spec: &v1::JobSpec,
    query: &v1::Query,
    cluster: &ClusterShape,
) -> Result<PlannedJob, PlanError> {
    let environment: BTreeMap<String, String> = spec.environment.clone().into_iter().collect();
    let secrets: BTreeMap<String, String> = spec.secrets.clone().into_iter().collect();
    let credentials = environment.iter().chain(&secrets).map(|(k, v)| (k.clone(), v.clone())).collect();
    let options = query.settings.clone().into_iter().collect();
    let mut session = PlanSession::new(*cluster, options, credentials, &query.base_dir)?;
    let sql = SqlText::statement(&query.sql);
    let statement = statement::parse(&sql, &session.context)?;
    let kind = statement::kind(&statement, &sql)?;
    open_tables(&mut session, query, &statement, &kind, &sql).await?;
    session.fit_partitions()?;
    let plan = match kind {
        Kind::Explain(inner) => explain(&session, *inner, &sql).await?,
        Kind::Query | Kind::Metadata if statement::is_metadata(&statement, &session.context, &sql)? => {
            answer(&session, statement, &sql).await?
        }
        Kind::Query | Kind::Metadata => physical_plan(&session, statement, &sql).await?,
    };
    let schema_ipc = encode_schema(&plan.schema());
    let mut graph = GraphBuilder::new(session.adaptive());
    let stage = graph.add_result(plan)?;
    Ok(PlannedJob {
        name: if spec.name.is_empty() { "query".to_owned() } else { spec.name.clone() },
        graph: graph.finish(),
        race_stragglers: session.adaptive().race_stragglers,
        settings: session.settings,
        result: Some(ResultInfo { stage, schema_ipc }),
        sinks: Vec::new(),
        count_checks: Vec::new(),
        environment,
        secrets,
        retries: 0,
        timeout_ms: None,
        program: None,
        report: ReportSpec::default(),
    })
}

/// Opens the tables that the statement reads: named ones, and files it names itself. One that asks about tables sees
/// all named ones.
async fn open_tables(
    session: &mut PlanSession,
    query: &v1::Query,
    statement: &Statement,
    kind: &Kind,
    sql: &SqlText<'_>,
) -> Result<(), PlanError> {
    check_names(&query.tables)?;
    let references = statement::references(statement, &session.context, sql)?;
    let asks_about_tables = matches!(kind, Kind::Metadata) || references.iter().any(|table| table.schema().is_some());
    for table in &query.tables {
        if asks_about_tables || references.iter().any(|reference| reference.table() == table.name) {
            open(session, table).await?;
        }
    }
    for reference in &references {
        let name = reference.table();
        if !session.has_table(name) && reference.schema().is_none() && is_path(name) {
            let named = v1::Table { name: name.to_owned(), path: name.to_owned(), ..v1::Table::default() };
            open(session, &named).await?;
        }
    }
    for table in &query.tables {
        // One that is not read is not opened; its name still helps when another is mistyped.
        session.mention(&table.name);
    }
    session.check_tables(statement, sql)
}

/// Each name stands for one table.
fn check_names(tables: &[v1::Table]) -> Result<(), PlanError> {
    let mut paths = BTreeMap::new();
    match tables.iter().find_map(|table| Some((paths.insert(&table.name, &table.path)?, table))) {
        None => Ok(()),
        Some((first, v1::Table { name, path, .. })) => Err(PlanError::Invalid {
            message: format!("table `{name}` is given twice: {first} and {path}"),
            help: Some("give each a name of its own".to_owned()),
        }),
    }
}

async fn open(session: &mut PlanSession, table: &v1::Table) -> Result<(), PlanError> {
    let spec = SourceSpec {
        format: named("format", &table.format, &SOURCE_FORMATS)?,
        compression: named("compression", &table.compression, &SOURCE_COMPRESSIONS)?,
        ..SourceSpec::new(&table.name, session.absolute(&table.path)?)
    };
    session.open(&spec).await?;
    Ok(())
}

/// What `name` stands for; nothing when it is empty.
fn named<T: Copy>(what: &str, name: &str, known: &[(&str, T)]) -> Result<Option<T>, PlanError> {
    if name.is_empty() {
        return Ok(None);
    }
    match known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        Some((_, found)) => Ok(Some(*found)),
        None => Err(PlanError::Invalid {
            message: format!("unknown {what} `{name}`"),
            help: Some(suggestion(name, known.iter().map(|(known, _)| *known), what)),
        }),
    }
}

/// Whether a table's name is a file, folder or glob: `FROM 'data/*.csv'`.
fn is_path(name: &str) -> bool {
    name.contains(['/', '*', '.'])
}

async fn physical_plan(
    session: &PlanSession,
    statement: Statement,
    sql: &SqlText<'_>,
) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
    let logical = session.logical_plan(statement, sql).await?;
    session.context.state().create_physical_plan(&logical).await.map_err(|error| sql.explain(&error))
}

/// Runs a statement about settings and tables here, where they are known, and makes its rows the plan.
async fn answer(
    session: &PlanSession,
    statement: Statement,
    sql: &SqlText<'_>,
) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
    let logical = session.logical_plan(statement, sql).await?;
    let answer = async {
        let frame = session.context.execute_logical_plan(logical).await?;
        let context = Arc::new(frame.task_ctx());
        let plan = frame.create_physical_plan().await?;
        let rows = collect_partitioned(plan.clone(), context).await?;
        let schema = rows.iter().flatten().next().map_or_else(|| plan.schema(), RecordBatch::schema);
        MemorySourceConfig::try_new_exec(&rows, schema, None)
    };
    Ok(answer.await.map_err(|error: DataFusionError| sql.explain(&error))?)
}

/// The logical plan and each stage, or the one plan of what needs none, as rows of `plan_type` and `plan`.
async fn explain(
    session: &PlanSession,
    statement: Statement,
    sql: &SqlText<'_>,
) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
    let is_metadata = statement::is_metadata(&statement, &session.context, sql)?;
    let logical = session.logical_plan(statement, sql).await?;
    let state = session.context.state();
    let optimized = state.optimize(&logical).map_err(|error| sql.explain(&error))?;
    let physical = state.query_planner().create_physical_plan(&optimized, &state).await;
    let physical = physical.map_err(|error| sql.explain(&error))?;
    let plans = if is_metadata {
        vec![("run by the coordinator".to_owned(), displayable(physical.as_ref()).indent(false).to_string())]
    } else {
        let mut graph = GraphBuilder::new(session.adaptive());
        graph.add_result(physical)?;
        stage_plans(&graph.finish())
    };
    let batch = explanation(optimized.display_indent().to_string(), plans)?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None)?)
}

/// What each stage is called, and its plan.
fn stage_plans(graph: &StageGraph) -> Vec<(String, String)> {
    let stages = graph.stages.iter().map(|stage| {
        let inputs: Vec<String> = stage.inputs.iter().map(|input| input.0.to_string()).collect();
        let reads = if inputs.is_empty() { String::new() } else { format!(", reads {}", inputs.join(" and ")) };
        let title = format!("stage {}: {} ({} tasks{reads})", stage.id.0, stage.name, stage.partitions);
        (title, stage.display.clone())
    });
    stages.collect()
}

fn explanation(logical: String, plans: Vec<(String, String)>) -> Result<RecordBatch, DataFusionError> {
    let rows = std::iter::once(("logical plan".to_owned(), logical)).chain(plans);
    let (types, plans): (Vec<String>, Vec<String>) = rows.unzip();
    let field = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![field("plan_type"), field("plan")]));
    let columns = [types, plans].map(|texts| Arc::new(StringArray::from(texts)) as _);
    Ok(RecordBatch::try_new(schema, columns.to_vec())?)
}
