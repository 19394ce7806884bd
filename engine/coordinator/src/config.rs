//! What a coordinator is started with.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use tandem_scheduler::ClusterConfig;

use crate::logs::LogsConfig;
use crate::packages::PackagesConfig;

/// Where clients and workers find a coordinator unless it is told otherwise.
pub const DEFAULT_PORT: u16 = 7100;
/// Where its health and metrics are.
pub const DEFAULT_HTTP_PORT: u16 = 7101;

/// Section `[coordinator]`: where it listens, where its data is, whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoordinatorConfig {
    /// Where clients and workers connect. Port 0 takes a free one. Default 127.0.0.1:7100.
    pub listen: SocketAddr,
    /// Where health and metrics are asked for. Port 0 takes a free one. Default 127.0.0.1:7101.
    pub http: SocketAddr,
    /// The folder of its journal. Created when missing; one coordinator at a time. Default `tandem-data`.
    pub data_dir: PathBuf,
    /// The file with the token that everyone must show. Default `token` in the data folder.
    pub token_file: Option<PathBuf>,
    /// Certificate and key; needed to listen beyond loopback.
    pub tls: Option<TlsFiles>,
    /// The cluster's name, for people. Default `tandem`.
    pub cluster_name: String,
    /// Slots that jobs are planned for while fewer have joined: a job may come before the workers do. Default 0.
    pub expected_slots: u32,
    /// Variables of every program, unless its worker or its job says otherwise. Default none.
    pub environment: BTreeMap<String, String>,
    /// Whether jobs that still run are stopped when it is told to leave, since no coordinator over its folder comes after it.
    /// Default false.
    pub stop_jobs: bool,
    /// Leases, graces and limits.
    pub cluster: ClusterConfig,
    /// How much of the disk packages may take.
    pub packages: PackagesConfig,
    /// How much of the disk the lines of jobs may take.
    pub logs: LogsConfig,
}

/// Files of a TLS identity, all in PEM form.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate, then those that signed it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What signed the workers' certificates. Default: the same as `cert`.
    pub ca: Option<PathBuf>,
}

impl Default for CoordinatorConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_HTTP_PORT)),
            data_dir: PathBuf::from("tandem-data"),
            token_file: None,
            tls: None,
            cluster_name: "tandem".to_owned(),
            expected_slots: 0,
            environment: BTreeMap::new(),
            stop_jobs: false,
            cluster: ClusterConfig::default(),
            packages: PackagesConfig::default(),
            logs: LogsConfig::default(),
        }
    }
}
