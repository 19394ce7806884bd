//! Plans one SQL statement whose rows go to the client.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;
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
        Kind::Query if reads_catalog(&session, &statement, &sql)? => answer(&session, statement, &sql).await?,
        Kind::Query => physical_plan(&session, statement, &sql).await?,
        Kind::Metadata => answer(&session, statement, &sql).await?,
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
    let references = statement::tables_of(statement, &session.context, sql)?;
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

fn reads_catalog(session: &PlanSession, statement: &Statement, sql: &SqlText<'_>) -> Result<bool, PlanError> {
    let tables = statement::tables_of(statement, &session.context, sql)?;
    Ok(tables.iter().any(|table| table.schema() == Some("information_schema")))
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
    let rows = async { session.context.execute_logical_plan(logical).await?.collect_partitioned().await };
    let rows = rows.await.map_err(|error| sql.explain(&error))?;
    let schema = rows.iter().flatten().next().map(RecordBatch::schema);
    let schema = schema.unwrap_or_else(|| Arc::new(Schema::empty()));
    Ok(MemorySourceConfig::try_new_exec(&rows, schema, None)?)
}

/// The logical plan and each stage as rows of `plan_type` and `plan`.
async fn explain(
    session: &PlanSession,
    statement: Statement,
    sql: &SqlText<'_>,
) -> Result<Arc<dyn ExecutionPlan>, PlanError> {
    let logical = session.logical_plan(statement, sql).await?;
    let state = session.context.state();
    let optimized = state.optimize(&logical).map_err(|error| sql.explain(&error))?;
    let physical = state.query_planner().create_physical_plan(&optimized, &state).await;
    let mut graph = GraphBuilder::new(session.adaptive());
    graph.add_result(physical.map_err(|error| sql.explain(&error))?)?;
    let batch = explanation(&optimized.display_indent().to_string(), &graph.finish())?;
    Ok(MemorySourceConfig::try_new_exec(&[vec![batch.clone()]], batch.schema(), None)?)
}

fn explanation(logical: &str, graph: &StageGraph) -> Result<RecordBatch, DataFusionError> {
    let stages = graph.stages.iter().map(|stage| {
        let inputs: Vec<String> = stage.inputs.iter().map(|input| input.0.to_string()).collect();
        let reads = if inputs.is_empty() { String::new() } else { format!(", reads {}", inputs.join(" and ")) };
        let title = format!("stage {}: {} ({} tasks{reads})", stage.id.0, stage.name, stage.partitions);
        (title, stage.display.clone())
    });
    let rows = std::iter::once(("logical plan".to_owned(), logical.to_owned())).chain(stages);
    let (types, plans): (Vec<String>, Vec<String>) = rows.unzip();
    let field = |name| Field::new(name, DataType::Utf8, false);
    let schema = Arc::new(Schema::new(vec![field("plan_type"), field("plan")]));
    let columns = [types, plans].map(|texts| Arc::new(StringArray::from(texts)) as _);
    Ok(RecordBatch::try_new(schema, columns.to_vec())?)
}
