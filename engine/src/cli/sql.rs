//! `tandem sql`: one statement, on the cluster or on a private one; its rows to standard output or into a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tandem_client::{Client, ResultEvent, Results};
use tandem_proto::{JobId, v1};

use super::Failure;
use super::attached::{self, Interrupts};
use super::job_spec::QueryArgs;
use super::session::Session;
use crate::local::PrivateCluster;
use crate::output::{OutputFormat, Progress, RowFormat, RowWriter, row_writer, tell};

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {
    #[command(flatten)]
    query: QueryArgs,
    /// Write the rows to this file; its ending says the format: csv, json, jsonl, arrow, parquet
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Run on a cluster of this command's own instead of the one that is up
    #[arg(long)]
    local: bool,
}

pub(super) async fn execute(args: SqlArgs, session: &Session) -> Result<(), Failure> {
    let spec = args.query.spec()?;
    let target = Target::new(args.output, session.format())?;
    on_cluster(session, args.local, async |client| query(&client, spec, target).await).await
}

/// Runs `work` against a private one-worker cluster, or against the cluster of `session`.
pub(super) async fn on_cluster(
    session: &Session,
    local: bool,
    work: impl AsyncFnOnce(Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !local {
        return session.in_time(async { work(session.connect().await?).await }).await;
    }
    let cpus = std::thread::available_parallelism().ok().and_then(|cpus| u32::try_from(cpus.get()).ok());
    let private = PrivateCluster::start(&session.folder, session.shape(Some(1), cpus, None))?;
    let outcome = {
        let cluster = private.cluster()?;
        tokio::select! {
            outcome = session.in_time(async { work(cluster.connect().await?).await }) => outcome,
            fault = cluster.fault() => Err(fault.into()),
        }
    };
    private.stop().await;
    outcome.map_err(|failure| failure.without_cluster(None))
}

async fn query(client: &Client, spec: v1::JobSpec, target: Target) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let accepted = async {
        let submitted = client.submit(attached::submission(spec, true)).await?;
        let job = JobId(submitted.job);
        Ok((job, client.results(job).await?))
    };
    let (job, mut results) = interrupts.guard(accepted).await?;
    let outcome = tokio::select! {
        outcome = write_rows(&mut results, &target) => outcome,
        () = interrupts.next() => Err(attached::interrupted(job)),
    };
    if let Err(failure) = outcome {
        // It ends with this client anyway; this only makes it end sooner.
        let _ = client.stop(job, "the client has left").await;
        target.discard();
        return Err(failure);
    }
    target.keep()
}

async fn write_rows(results: &mut Results, target: &Target) -> Result<(), Failure> {
    let mut progress = Progress::new();
    let mut writer: Option<Box<dyn RowWriter>> = None;
    while let Some(event) = results.next_event().await? {
        match event {
            ResultEvent::Status(status) if writer.is_none() => progress.update(&status),
            ResultEvent::Status(_) => {}
            ResultEvent::Batch(batch) => {
                progress.clear();
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(target.open(&batch.schema())?),
                };
                target.written(writer.write(&batch))?;
            }
        }
    }
    progress.clear();
    match (writer, results.schema()) {
        (Some(mut writer), _) => target.written(writer.finish()),
        (None, Some(schema)) => target.written(target.open(schema)?.finish()),
        (None, None) => Ok(()),
    }
}

/// Where rows go. A file has another name until it is complete.
struct Target {
    format: RowFormat,
    file: Option<PathBuf>,
}

impl Target {
    fn new(file: Option<PathBuf>, format: OutputFormat) -> Result<Self, Failure> {
        let Some(path) = &file else { return Ok(Self { format: RowFormat::Output(format), file }) };
        let format = RowFormat::of_file(path).ok_or_else(|| {
            Failure::usage(format!("the ending of the file does not say a format: {}", path.display()))
                .with_help("use .csv, .json, .jsonl, .arrow or .parquet")
        })?;
        Ok(Self { format, file })
    }

    fn open(&self, schema: &arrow::datatypes::SchemaRef) -> Result<Box<dyn RowWriter>, Failure> {
        let out: Box<dyn Write + Send> = match &self.file {
            Some(path) => {
                let draft = draft_of(path);
                let file = File::create(&draft)
                    .map_err(|error| Failure::failed(format!("cannot write: {}: {error}", draft.display())))?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(BufWriter::new(std::io::stdout())),
        };
        row_writer(self.format, schema.clone(), out)
    }

    /// What came of writing there; a failure names the file.
    fn written(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        outcome.map_err(|failure| match &self.file {
            Some(path) => failure.in_context(format_args!("cannot write {}", path.display())),
            None => failure,
        })
    }

    fn keep(&self) -> Result<(), Failure> {
        let Some(path) = &self.file else { return Ok(()) };
        let draft = draft_of(path);
        if draft.exists() {
            std::fs::rename(&draft, path)?;
            tell!("wrote {}", path.display());
        }
        Ok(())
    }

    fn discard(&self) {
        if let Some(path) = &self.file {
            // It may not have been made yet.
            let _ = std::fs::remove_file(draft_of(path));
        }
    }
}

fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}
