//! `tandem run`: a whole cluster for one job, from start to report, and nothing left of it.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use arrow::array::RecordBatch;
use serde_json::{Map, Value};
use tandem_client::Client;
use tandem_exec::sink::{JsonShape, SinkFormat};
use tandem_exec::storage::Storage;
use tandem_jobs::job_file::Sink;
use tandem_proto::{JobId, v1};

use super::attached::{self, Interrupts};
use super::job_spec::{CheckedJob, JobArgs};
use super::resources::AmountArgs;
use super::session::Session;
use super::{Failure, cluster};
use crate::local::{ClusterShape, PrivateCluster};
use crate::output::units::parse_bytes;
use crate::output::{
    OutputFormat, RowFormat, WorkDone, print_object, print_summary, print_work_done, row_writer, work_done,
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
        cluster::up(session, &shape)?;
        let client = session.connect().await?;
        session.in_time(run(&client, job, &mut interrupts, session.format())).await?;
        eprintln!("the cluster is still up at {}; `tandem cluster down` stops it", client.address());
        return Ok(());
    }
    let private = PrivateCluster::start(&session.folder, shape)?;
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
    eprintln!("running {} as job {id} (coordinator: http://{page})", job.name());
    let status = job.follow(client, id, interrupts).await?;
    print_summary(&status)?;
    let workers = work_done(&client.tasks(id).await?, &client.nodes().await?);
    print_work_done(&mut std::io::stderr().lock(), &workers)?;
    if format == OutputFormat::Json {
        let report = client.report(id).await?;
        return Ok(writeln!(std::io::stdout(), "{}", with_workers(&report.summary_json, &workers)?)?);
    }
    interrupts.guard(show_sinks(client, &job.sinks, job.secrets(), format)).await
}

/// The report of the job, and which worker did what of it.
fn with_workers(summary_json: &str, workers: &[WorkDone]) -> Result<String, Failure> {
    let broken = |error| Failure::failed(format!("the report of the job cannot be read: {error}"));
    let mut summary: Map<String, Value> = serde_json::from_str(summary_json).map_err(broken)?;
    summary.insert("workers".to_owned(), serde_json::to_value(workers).map_err(broken)?);
    serde_json::to_string_pretty(&summary).map_err(broken)
}

/// Prints the first rows of what the job wrote.
async fn show_sinks(
    client: &Client,
    sinks: &[Sink],
    secrets: &HashMap<String, String>,
    format: OutputFormat,
) -> Result<(), Failure> {
    for sink in sinks {
        eprintln!("{} is in {}", sink.from, sink.spec.path);
    }
    // In the other forms a second table would not be told from the first.
    let shown = if format == OutputFormat::Table { sinks.len() } else { sinks.len().min(1) };
    for sink in &sinks[..shown] {
        if sink.spec.shape == JsonShape::Object {
            show_object(sink, secrets, format).await?;
            continue;
        }
        let spec = v1::JobSpec { secrets: secrets.clone(), ..head_of(sink)? };
        if show_head(client, spec, format).await? {
            eprintln!("there are more rows in {}", sink.spec.path);
        }
    }
    Ok(())
}

/// Prints the object that a sink has written.
async fn show_object(sink: &Sink, secrets: &HashMap<String, String>, format: OutputFormat) -> Result<(), Failure> {
    let path = &sink.spec.path;
    let storage = Storage::new(secrets.clone().into_iter().collect());
    let bytes = storage.read(path, &std::env::current_dir()?).await?;
    let mut out = std::io::stdout().lock();
    if format != OutputFormat::Table {
        return Ok(out.write_all(&bytes)?);
    }
    let object = serde_json::from_slice(&bytes);
    let object = object.map_err(|error| Failure::failed(format!("cannot read what was written: {path}: {error}")))?;
    Ok(print_object(&mut out, &object)?)
}

fn head_of(sink: &Sink) -> Result<v1::JobSpec, Failure> {
    let folder = std::env::current_dir()?;
    let table = v1::Table {
        name: "written".to_owned(),
        path: sink.spec.path.clone(),
        format: format_name(sink.spec.format).to_owned(),
    };
    let query = v1::Query {
        // One more tells whether these are all.
        sql: format!("SELECT * FROM written LIMIT {}", SHOWN_ROWS + 1),
        tables: vec![table],
        base_dir: folder.to_string_lossy().into_owned(),
        ..v1::Query::default()
    };
    let work = Some(v1::job_spec::Work::Query(query));
    Ok(v1::JobSpec { name: format!("show {}", sink.from), work, ..v1::JobSpec::default() })
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
