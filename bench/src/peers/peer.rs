//! Which peers there are, and where they come from.

use clap::ValueEnum;

use super::engines;

/// Engines to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    Duckdb,
    Polars,
    Spark,
    Ray,
    Ballista,
    Distributed,
}

/// What brings a peer, in the one version that it is compared in.
#[derive(Debug)]
pub(super) enum Origin {
    Package(Package),
    /// A crate that is locked in `bench/peers/engines`.
    Crate(&'static str),
}

/// From PyPI.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// Packages that it does not bring.
    pub(super) further: &'static [&'static str],
}

impl Peer {
    /// As it is called in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Duckdb => "DuckDB",
            Self::Polars => "Polars",
            Self::Spark => "Spark",
            Self::Ray => "Ray",
            Self::Ballista => "Ballista",
            Self::Distributed => "datafusion-distributed",
        }
    }

    /// Its program for some work, as it is called in `bench/peers`.
    pub(super) fn program(self, work: &str) -> String {
        let name = match self {
            Self::Duckdb => "duckdb",
            Self::Polars => "polars",
            Self::Spark => "spark",
            Self::Ray => "ray",
            Self::Ballista => "ballista",
            Self::Distributed => "distributed",
        };
        format!("{work}_{name}")
    }

    pub(super) fn origin(self) -> Origin {
        match self {
            Self::Duckdb => Origin::package("duckdb", "2.0.0", &[]),
            Self::Polars => Origin::package("polars", "2.1.0", &[]),
            Self::Spark => Origin::package("pyspark", "4.3.0", &[]),
            Self::Ray => Origin::package("ray[default]", "2.60.0", &["numpy==2.4.6"]),
            Self::Ballista => Origin::Crate("ballista"),
            Self::Distributed => Origin::Crate("datafusion-distributed"),
        }
    }

    pub(crate) fn version(self) -> &'static str {
        match self.origin() {
            Origin::Package(package) => package.version,
            Origin::Crate(name) => engines::version(name),
        }
    }
}

impl Origin {
    fn package(name: &'static str, version: &'static str, further: &'static [&'static str]) -> Self {
        Self::Package(Package { name, version, further })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_version() {
        for peer in Peer::value_variants() {
            let version = peer.version();
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{peer:?}: `{version}`");
        }
    }
}
