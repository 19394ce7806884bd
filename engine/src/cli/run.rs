//! `tandem run`: a whole cluster for one job, from start to report, and nothing left of it.

use std::io::{BufWriter, Write};

use arrow::array::RecordBatch;
use serde_json::{Map, Value};
use tandem_client::Client;
use tandem_exec::sink::{Compression, JsonShape, SinkFormat, SinkSpec};
use tandem_exec::storage::Storage;
use tandem_jobs::job_file::Sink;
use tandem_proto::{JobId, v1};

use super::attached::{self, Interrupts};
use super::job_spec::{CheckedJob, JobArgs};
use super::resources::AmountArgs;
use super::session::Session;
use super::{Failure, cluster};
use crate::local::{ClusterShape, PrivateCluster, StateFolder};
use crate::output::units::parse_bytes;
use crate::output::{
    OutputFormat, RowFormat, WorkDone, print_object, print_summary, print_work_done, row_writer, tell, tell_with,
    work_done,
};

/// Rows of each sink that are shown.
const SHOWN_ROWS: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Worker processes
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    workers: Option<u32>,
    /// Slots of each worker: tasks it runs at once
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// Memory of each worker, such as 2GiB
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
    #[command(flatten)]
    resources: AmountArgs,
    /// Leave the cluster up, as `tandem cluster up` would
    #[arg(long)]
    keep: bool,
}

pub(super) async fn execute(args: RunArgs, session: &Session) -> Result<(), Failure> {
    let job = args.job.checked(None)?;
    let mut interrupts = Interrupts::new()?;
    let resources = args.resources.amounts()?;
    let shape = ClusterShape { resources, ..session.shape(args.workers, args.cpus, args.memory) };
    if args.keep {
        cluster::up(&shape)?;
        let client = session.connect().await?;
        session.in_time(run(&client, job, &mut interrupts, session.format())).await?;
        tell!("the cluster is still up at {}; `tandem cluster down` stops it", client.address());
        return Ok(());
    }
    let user = StateFolder::of_user()?;
    let private = interrupts.guard(async { Ok(PrivateCluster::start(&user, shape).await?) }).await?;
    let outcome = {
        let cluster = private.cluster()?;
        let work = async {
            let client = interrupts.guard(async { Ok(cluster.connect().await?) }).await?;
            run(&client, job, &mut interrupts, session.format()).await
        };
        tokio::select! {
            outcome = session.in_time(work) => outcome,
            fault = cluster.fault() => Err(fault.into()),
        }
    };
    private.stop().await;
    let again = "run it again with --keep, then look at `tandem job list`";
    outcome.map_err(|failure| failure.without_cluster(Some(again)))
}

async fn run(
    client: &Client,
    job: CheckedJob,
    interrupts: &mut Interrupts,
    format: OutputFormat,
) -> Result<(), Failure> {
    let accepted = async {
        let submitted = job.submit(client, true).await?;
        Ok((JobId(submitted.job), client.cluster().await?.http_address))
    };
    let (id, page) = interrupts.guard(accepted).await?;
    tell!("running {} as job {id} (coordinator: http://{page})", job.name());
    let status = job.follow(client, id, interrupts).await?;
    print_summary(&status);
    let workers = work_done(&client.tasks(id).await?, &client.nodes().await?);
    tell_with(|out| print_work_done(out, &workers));
    let report = client.report(id).await?;
    if !report.problem.is_empty() {
        tell!("warning: the report of the job could not be written: {}", report.problem);
    }
    if format == OutputFormat::Json {
        return Ok(writeln!(std::io::stdout(), "{}", with_workers(&report.summary_json, &workers)?)?);
    }
    interrupts.guard(show_sinks(client, &job, &status, format)).await
}

/// The report of the job, and which worker did what of it.
fn with_workers(summary_json: &str, workers: &[WorkDone]) -> Result<String, Failure> {
    let broken = |error| Failure::failed(format!("the report of the job cannot be read: {error}"));
    let mut summary: Map<String, Value> = serde_json::from_str(summary_json).map_err(broken)?;
    summary.insert("workers".to_owned(), serde_json::to_value(workers).map_err(broken)?);
    serde_json::to_string_pretty(&summary).map_err(broken)
}

/// Prints the first rows of what the job wrote, as far as they can be shown: it has succeeded in any case.
async fn show_sinks(
    client: &Client,
    job: &CheckedJob,
    status: &v1::JobStatus,
    format: OutputFormat,
) -> Result<(), Failure> {
    for sink in &job.sinks {
        tell!("{} is in {}", sink.from, sink.spec.path);
    }
    // In the other forms a second table would not be told from the first.
    let shown = if format == OutputFormat::Table { job.sinks.len() } else { job.sinks.len().min(1) };
    for sink in &job.sinks[..shown] {
        let path = &sink.spec.path;
        if rows_written(status, &sink.spec) == 0 {
            tell!("no rows were written to {path}");
            continue;
        }
        match show(client, job, sink, format).await {
            Err(Failure::Told { message, .. }) => tell!("note: cannot show {path}: {message}"),
            outcome => outcome?,
        }
    }
    Ok(())
}

fn rows_written(status: &v1::JobStatus, sink: &SinkSpec) -> u64 {
    let written = |count: &&v1::RowCount| count.kind() == v1::RowCountKind::Written && count.name == sink.name;
    status.counts.iter().filter(written).map(|count| count.rows).sum()
}

/// Prints the first rows of one sink.
async fn show(client: &Client, job: &CheckedJob, sink: &Sink, format: OutputFormat) -> Result<(), Failure> {
    let spec = &sink.spec;
    // A folder's path may look like that of a file without its last `/`.
    let path = if spec.is_single_file() { spec.path.trim_end_matches('/') } else { &spec.path };
    if spec.shape == JsonShape::Object {
        return show_object(path, &job.storage(), format).await;
    }
    let head = job.query(format!("show {}", sink.from), head_of(spec, path)?);
    if show_head(client, head, format).await? {
        tell!("there are more rows in {}", spec.path);
    }
    Ok(())
}

/// Prints the object that a sink has written.
async fn show_object(path: &str, storage: &Storage, format: OutputFormat) -> Result<(), Failure> {
    let bytes = storage.read(path, &std::env::current_dir()?).await?;
    let mut out = std::io::stdout().lock();
    if format != OutputFormat::Table {
        return Ok(out.write_all(&bytes)?);
    }
    let object = serde_json::from_slice(&bytes);
    let object = object.map_err(|error| Failure::failed(format!("it cannot be read: {error}")))?;
    Ok(print_object(&mut out, &object)?)
}

fn head_of(sink: &SinkSpec, path: &str) -> Result<v1::Query, Failure> {
    let folder = std::env::current_dir()?;
    let table = v1::Table {
        name: "written".to_owned(),
        path: path.to_owned(),
        format: format_name(sink.format).to_owned(),
        compression: compression_name(sink).to_owned(),
    };
    Ok(v1::Query {
        // One more tells whether these are all.
        sql: format!("SELECT * FROM written LIMIT {}", SHOWN_ROWS + 1),
        tables: vec![table],
        base_dir: folder.to_string_lossy().into_owned(),
        ..v1::Query::default()
    })
}

fn format_name(format: SinkFormat) -> &'static str {
    match format {
        SinkFormat::Parquet => "parquet",
        SinkFormat::Csv => "csv",
        SinkFormat::Json => "json",
        SinkFormat::Jsonl => "jsonl",
        SinkFormat::Arrow => "arrow",
    }
}

/// How a text is compressed; the other formats say so themselves.
fn compression_name(sink: &SinkSpec) -> &'static str {
    match (sink.format, sink.effective_compression()) {
        (SinkFormat::Parquet | SinkFormat::Arrow, _) => "",
        (_, Compression::Gzip) => "gzip",
        (_, Compression::Zstd) => "zstd",
        _ => "none",
    }
}

/// Prints the first rows that the job answers. Whether there are more.
async fn show_head(client: &Client, spec: v1::JobSpec, format: OutputFormat) -> Result<bool, Failure> {
    let submitted = client.submit(attached::submission(spec, true)).await?;
    let mut results = client.results(JobId(submitted.job)).await?;
    let mut batches = Vec::new();
    while let Some(batch) = results.next_batch().await? {
        batches.push(batch);
    }
    let Some(schema) = results.schema() else { return Ok(false) };
    let format = if format == OutputFormat::Table { RowFormat::Preview } else { RowFormat::Output(format) };
    let mut writer = row_writer(format, schema.clone(), BufWriter::new(std::io::stdout()))?;
    let mut left = SHOWN_ROWS;
    for batch in &batches {
        writer.write(&batch.slice(0, left.min(batch.num_rows())))?;
        left = left.saturating_sub(batch.num_rows());
    }
    writer.finish()?;
    Ok(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > SHOWN_ROWS)
}
