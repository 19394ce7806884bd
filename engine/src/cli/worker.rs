//! `tandem worker`: is a worker until told to leave.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tandem_client::{ClientSecurity, Token};
use tandem_proto::transport::{ServerSecurity, TlsIdentity};
use tandem_worker::{Worker, WorkerConfig, WorkerError};

use super::coordinator::{process_runtime, shutdown_on_signals};
use super::resources::ResourceArgs;
use super::{Exit, Failure, logging};
use crate::config::Settings;
use crate::local::{StateFolder, default_memory_bytes, follow_supervisor};
use crate::output::units::{parse_bytes, parse_duration};

#[derive(Debug, clap::Args)]
pub(super) struct WorkerArgs {
    /// The coordinator to work for
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: String,
    /// What people call this worker; default: the host's name and the process id
    #[arg(long)]
    name: Option<String>,
    /// Tasks it runs at once; default: the processors there are
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    cpus: Option<u32>,
    /// Memory of the process, such as 2GiB
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<u64>,
    /// Where peers and clients fetch data from
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where health and metrics are asked for
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    http: SocketAddr,
    /// Host by which others reach this worker; default: the address it listens on
    #[arg(long, value_name = "HOST")]
    advertise: Option<String>,
    /// Folder for what does not fit in memory
    #[arg(long, value_name = "DIR")]
    spill_dir: Option<PathBuf>,
    /// Objects of programs in that folder at most, such as 20GiB; default: half of what is free there
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    spill_limit: Option<u64>,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Label; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// How long to serve what it holds after it was told to leave
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    drain_timeout: Duration,
    /// Certificate chain of this process; needed to listen beyond loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    #[arg(long, hide = true)]
    supervisor_pid: Option<u32>,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it looks like key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn execute(args: WorkerArgs, settings: &Settings) -> Result<(), Failure> {
    if let Some(pid) = args.supervisor_pid {
        follow_supervisor(pid)?;
    }
    logging::for_process();
    let config = config(args, settings)?;
    process_runtime()?.block_on(async {
        let shutdown = shutdown_on_signals()?;
        let worker = Worker::bind(config).await?;
        Ok(worker.run(shutdown).await?)
    })
}

fn config(args: WorkerArgs, settings: &Settings) -> Result<WorkerConfig, Failure> {
    let token = process_token(settings)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => {
            Some(TlsIdentity::read(cert, key).map_err(|error| Failure::usage(error.to_string()))?)
        }
        _ => None,
    };
    let ca_pem = settings.tls_ca().map(std::fs::read).transpose();
    let ca_pem =
        ca_pem.map_err(|error| Failure::usage(format!("cannot read the file given with --tls-ca: {error}")))?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(WorkerConfig {
        name: args.name.unwrap_or_else(default_name),
        coordinator: args.coordinator,
        client_security: ClientSecurity { token: Some(token.clone()), ca_pem },
        server_security: ServerSecurity { token, tls },
        listen: args.listen,
        http_listen: args.http,
        advertised_host: args.advertise,
        slots: args.cpus.unwrap_or_else(|| u32::try_from(cpus).unwrap_or(1)),
        memory_limit_bytes: args.memory.unwrap_or_else(|| default_memory_bytes(1)),
        spill_dir: match args.spill_dir {
            Some(folder) => folder,
            None => StateFolder::of_user()?.spill(),
        },
        spill_limit_bytes: args.spill_limit,
        labels: args.label.into_iter().collect::<BTreeMap<_, _>>(),
        environment: args.resources.environment(),
        resources: args.resources.amounts()?,
        own_process: true,
        drain_timeout: args.drain_timeout,
    })
}

/// The token of a cluster's process: there is no process without one.
fn process_token(settings: &Settings) -> Result<Token, Failure> {
    let path = settings.token_file().ok_or_else(|| {
        Failure::usage("the worker has no token: --token-file is missing")
            .with_help("`tandem token create` makes one; all processes of a cluster share it")
    })?;
    Token::read(path).map_err(|error| Failure::usage(error.to_string()))
}

fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "worker".to_owned());
    format!("{}-{}", host.trim(), std::process::id())
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        let exit = match &error {
            WorkerError::Denied { .. } => Exit::Denied,
            WorkerError::MemoryLimit { .. }
            | WorkerError::NoSlots
            | WorkerError::Unadvertised { .. }
            | WorkerError::Unsafe(_)
            | WorkerError::Tls(_)
            | WorkerError::Connect(_) => Exit::Usage,
            WorkerError::Listen { .. }
            | WorkerError::Serve { .. }
            | WorkerError::Store(_)
            | WorkerError::QueryEngine(_)
            | WorkerError::Threads(_)
            | WorkerError::Executors(_)
            | WorkerError::Rejected(_) => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error {
            WorkerError::Listen { .. } => failure.with_help("choose other addresses with --listen and --http"),
            WorkerError::Unadvertised { .. } => failure.with_help("give it with --advertise"),
            WorkerError::Unsafe(_) => failure.with_help("`tandem cert create` makes a certificate and key"),
            _ => failure,
        }
    }
}
