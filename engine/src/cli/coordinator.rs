//! `tandem coordinator`: is a coordinator until told to leave. Also what both kinds of cluster processes share.

use std::net::SocketAddr;
use std::path::PathBuf;

use tandem_coordinator::{ClusterConfig, Coordinator, CoordinatorConfig, CoordinatorError, TlsFiles};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::job_spec::parse_pair;
use super::{Exit, Failure, logging};
use crate::config::Settings;
use crate::local::{InheritedListeners, follow_supervisor};

#[derive(Debug, clap::Args)]
pub(super) struct CoordinatorArgs {
    /// Where clients and workers connect
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
    listen: SocketAddr,
    /// Where health and metrics are asked for
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7101")]
    http: SocketAddr,
    /// Folder of the journal
    #[arg(long, value_name = "DIR", default_value = "tandem-data")]
    data_dir: PathBuf,
    /// Certificate chain; needed to listen beyond loopback
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The cluster's name, for people
    #[arg(long, default_value = "tandem")]
    cluster_name: String,
    /// Plan jobs for so many slots while fewer have joined
    #[arg(long, value_name = "SLOTS", default_value_t = 0)]
    expect_slots: u32,
    /// Variable of every program, unless its worker or its job says otherwise; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    env: Vec<(String, String)>,
    /// The listening sockets are this process's standard input and output
    #[arg(long, hide = true)]
    inherit_listeners: bool,
    /// No worker of an earlier coordinator over this folder is alive
    #[arg(long, hide = true)]
    workers_gone: bool,
    /// No other coordinator over this folder comes after this one
    #[arg(long, hide = true)]
    stop_jobs: bool,
    #[arg(long, hide = true)]
    supervisor_pid: Option<u32>,
}

pub(super) fn execute(args: CoordinatorArgs, settings: &Settings) -> Result<(), Failure> {
    if let Some(pid) = args.supervisor_pid {
        follow_supervisor(pid)?;
    }
    logging::for_process();
    let inherited = args.inherit_listeners.then(InheritedListeners::take).transpose()?;
    let config = config(args, settings);
    process_runtime()?.block_on(async {
        let shutdown = shutdown_on_signals()?;
        let coordinator = match inherited {
            Some(InheritedListeners { grpc, http }) => {
                Coordinator::over(config, TcpListener::from_std(grpc)?, TcpListener::from_std(http)?).await?
            }
            None => Coordinator::bind(config).await?,
        };
        Ok(coordinator.serve(shutdown.cancelled_owned()).await?)
    })
}

fn config(args: CoordinatorArgs, settings: &Settings) -> CoordinatorConfig {
    let ca = settings.tls_ca().map(ToOwned::to_owned);
    CoordinatorConfig {
        listen: args.listen,
        http: args.http,
        data_dir: args.data_dir,
        token_file: settings.token_file().map(ToOwned::to_owned),
        tls: args.tls_cert.zip(args.tls_key).map(|(cert, key)| TlsFiles { cert, key, ca }),
        cluster_name: args.cluster_name,
        expected_slots: args.expect_slots,
        environment: args.env.into_iter().collect(),
        stop_jobs: args.stop_jobs,
        cluster: ClusterConfig { expect_workers: !args.workers_gone, ..ClusterConfig::default() },
        ..CoordinatorConfig::default()
    }
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        let exit = match &error {
            CoordinatorError::Exposed(_)
            | CoordinatorError::Token(_)
            | CoordinatorError::Tls(_)
            | CoordinatorError::Authority { .. } => Exit::Usage,
            CoordinatorError::Listen { .. }
            | CoordinatorError::Journal(_)
            | CoordinatorError::Folder { .. }
            | CoordinatorError::Threads(_)
            | CoordinatorError::Serve { .. }
            | CoordinatorError::Owner(_) => Exit::Failed,
        };
        let failure = Self::new(exit, error.to_string());
        match error.help() {
            Some(help) => failure.with_help(help),
            None => failure,
        }
    }
}

/// Two threads for gRPC and timers; what is heavy has threads of its own.
pub(super) fn process_runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// A token that is cancelled by SIGTERM or SIGINT.
pub(super) fn shutdown_on_signals() -> Result<CancellationToken, Failure> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}
