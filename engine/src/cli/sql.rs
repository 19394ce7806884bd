//! `tandem sql`: one statement, on the cluster or on a private one; its rows to standard output or into a file.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use tandem_client::{Client, ResultEvent, Results};
use tandem_proto::{JobId, v1};

use super::Failure;
use super::attached::{self, Interrupts};
use super::job_spec::QueryArgs;
use super::session::Session;
use crate::local::{PrivateCluster, StateFolder};
use crate::output::{Progress, RowFormat, RowWriter, row_writer, tell};

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
    let format = match &args.output {
        Some(path) => format_of(path)?,
        None => RowFormat::Output(session.format()),
    };
    on_cluster(session, args.local, async |client| query(&client, spec, format, args.output).await).await
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
    let private = PrivateCluster::start(&StateFolder::of_user()?, session.shape(Some(1), cpus, None)).await?;
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

async fn query(client: &Client, spec: v1::JobSpec, format: RowFormat, output: Option<PathBuf>) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let draft = output.map(Draft::create).transpose()?;
    let accepted = async {
        let submitted = client.submit(attached::submission(spec, true)).await?;
        let job = JobId(submitted.job);
        Ok((job, client.results(job).await?))
    };
    let (job, mut results) = interrupts.guard(accepted).await?;
    let outcome = tokio::select! {
        outcome = write_rows(&mut results, format, draft.as_ref()) => outcome,
        () = interrupts.next() => Err(attached::interrupted(job)),
    };
    if let Err(failure) = outcome {
        // It ends with this client anyway; this only makes it end sooner.
        let _ = client.stop(job, "the client has left").await;
        return Err(failure);
    }
    draft.map_or(Ok(()), Draft::keep)
}

async fn write_rows(results: &mut Results, format: RowFormat, draft: Option<&Draft>) -> Result<(), Failure> {
    let written = |outcome: Result<(), Failure>| match draft {
        Some(draft) => outcome.map_err(|failure| failure.in_context(draft.context())),
        None => outcome,
    };
    let open = |schema: &SchemaRef| match draft {
        Some(draft) => row_writer(format, schema.clone(), BufWriter::new(&draft.file)),
        None => row_writer(format, schema.clone(), BufWriter::new(io::stdout())),
    };
    let mut progress = Progress::new();
    let mut writer: Option<Box<dyn RowWriter + '_>> = None;
    while let Some(event) = results.next_event().await? {
        match event {
            ResultEvent::Status(status) if writer.is_none() => progress.update(&status),
            ResultEvent::Status(_) => {}
            ResultEvent::Batch(batch) => {
                progress.clear();
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(open(&batch.schema())?),
                };
                written(writer.write(&batch))?;
            }
        }
    }
    progress.clear();
    match (writer, results.schema()) {
        (Some(mut writer), _) => written(writer.finish()),
        (None, Some(schema)) => written(open(schema)?.finish()),
        (None, None) => Ok(()),
    }
}

/// The form that the name of a file asks for.
fn format_of(path: &Path) -> Result<RowFormat, Failure> {
    RowFormat::of_file(path).ok_or_else(|| {
        Failure::usage(format!("the ending of the file does not say a format: {}", path.display()))
            .with_help("use .csv, .json, .jsonl, .arrow or .parquet")
    })
}

/// A file that has another name until it is complete. Dropped before that, it is gone.
struct Draft {
    path: PathBuf,
    partial: PathBuf,
    file: File,
}

impl Draft {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        let failed =
            |error: io::Error| Failure::from(error).in_context(format_args!("cannot write {}", path.display()));
        if path.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let partial = path.with_file_name(name);
        let file = File::create(&partial).map_err(failed)?;
        Ok(Self { path, partial, file })
    }

    fn keep(self) -> Result<(), Failure> {
        std::fs::rename(&self.partial, &self.path).map_err(|error| Failure::from(error).in_context(self.context()))?;
        tell!("wrote {}", self.path.display());
        Ok(())
    }

    /// What has failed when its file has.
    fn context(&self) -> String {
        format!("cannot write {}", self.path.display())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // There is none any more if it was kept.
        let _ = std::fs::remove_file(&self.partial);
    }
}
