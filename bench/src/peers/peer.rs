//! Which peers there are, and where they come from.

use clap::ValueEnum;

/// Engines to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    Duckdb,
    Polars,
    Spark,
    Ray,
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
        }
    }

    /// Its program for some work, as it is called in `bench/peers`.
    pub(super) fn program(self, work: &str) -> String {
        let name = match self {
            Self::Duckdb => "duckdb",
            Self::Polars => "polars",
            Self::Spark => "spark",
            Self::Ray => "ray",
        };
        format!("{work}_{name}")
    }

    pub(super) fn package(self) -> Package {
        match self {
            Self::Duckdb => Package { name: "duckdb", version: "2.0.0", further: &[] },
            Self::Polars => Package { name: "polars", version: "2.1.0", further: &[] },
            Self::Spark => Package { name: "pyspark", version: "4.3.0", further: &[] },
            Self::Ray => Package { name: "ray[default]", version: "2.60.0", further: &["numpy==2.4.6"] },
        }
    }

    pub(crate) fn version(self) -> &'static str {
        self.package().version
    }
}
