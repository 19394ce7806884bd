//! `tandem run`: a whole cluster for one job, from start to report, and nothing left of it.

use std::io::BufWriter;

use tandem_client::Client;
use tandem_exec::sink::SinkFormat;
use tandem_jobs::job_file::{JobFile, Sink};
use tandem_proto::{JobId, v1};

use super::attached::{self, Interrupts, OnInterrupt};
use super::job_spec::{CheckedJob, JobArgs};
use super::session::Session;
use super::{Failure, cluster};
use crate::local::PrivateCluster;
use crate::output::units::parse_bytes;
use crate::output::{OutputFormat, RowFormat, print_summary, row_writer};

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
    /// Leave the cluster up, as `tandem cluster up` would
    #[arg(long)]
    keep: bool,
}

pub(super) async fn execute(args: RunArgs, session: &Session) -> Result<(), Failure> {
    let job = args.job.checked(None)?;
    let mut interrupts = Interrupts::new()?;
    let shape = session.shape(args.workers, args.cpus, args.memory);
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
    outcome.map_err(|failure| failure.without_cluster())
}

async fn run(
    client: &Client,
    job: CheckedJob,
    interrupts: &mut Interrupts,
    format: OutputFormat,
) -> Result<(), Failure> {
    let CheckedJob { spec, file } = job;
    let secrets = spec.secrets.clone();
    let accepted = async {
        let submitted = client.submit(attached::submission(spec, true)).await?;
        Ok((JobId(submitted.job), client.cluster().await?.http_address))
    };
    let (id, page) = interrupts.guard(accepted).await?;
    eprintln!("running {} as job {id} (coordinator: http://{page})", file.name);
    let status = attached::follow(client, id, interrupts, OnInterrupt::Stop).await?;
    print_summary(&status)?;
    if format == OutputFormat::Json {
        use std::io::Write;
        let report = client.report(id).await?;
        return Ok(writeln!(std::io::stdout(), "{}", report.summary_json)?);
    }
    interrupts.guard(show_sinks(client, &file, &secrets, format)).await
}

/// Prints the first rows of what the job wrote.
async fn show_sinks(
    client: &Client,
    file: &JobFile,
    secrets: &std::collections::HashMap<String, String>,
    format: OutputFormat,
) -> Result<(), Failure> {
    for sink in &file.sinks {
        eprintln!("{} is in {}", sink.from, sink.spec.path);
    }
    // In the other forms a second table would not be told from the first.
    let shown = if format == OutputFormat::Table { file.sinks.len() } else { file.sinks.len().min(1) };
    for sink in &file.sinks[..shown] {
        let spec = v1::JobSpec { secrets: secrets.clone(), ..head_of(sink)? };
        show_head(client, spec, format).await?;
    }
    Ok(())
}

fn head_of(sink: &Sink) -> Result<v1::JobSpec, Failure> {
    let folder = std::env::current_dir()?;
    let table = v1::Table {
        name: "written".to_owned(),
        path: sink.spec.path.clone(),
        format: format_name(sink.spec.format).to_owned(),
    };
    let query = v1::Query {
        sql: format!("SELECT * FROM written LIMIT {SHOWN_ROWS}"),
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

async fn show_head(client: &Client, spec: v1::JobSpec, format: OutputFormat) -> Result<(), Failure> {
    let submitted = client.submit(attached::submission(spec, true)).await?;
    let mut results = client.results(JobId(submitted.job)).await?;
    let mut batches = Vec::new();
    while let Some(batch) = results.next_batch().await? {
        batches.push(batch);
    }
    let Some(schema) = results.schema() else { return Ok(()) };
    let mut writer = row_writer(RowFormat::Output(format), schema.clone(), BufWriter::new(std::io::stdout()))?;
    for batch in &batches {
        writer.write(batch)?;
    }
    writer.finish()
}
