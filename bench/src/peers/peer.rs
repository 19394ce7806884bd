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
    #[value(name = "onnxruntime")]
    OnnxRuntime,
    SentenceTransformers,
    Libmf,
    Surprise,
    Implicit,
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

const TORCH: &[&str] = &["torch==2.15.0", "transformers==5.24.0"];
const NUMPY: &[&str] = &["numpy==2.4.6"];
/// What makes the model that texts are embedded with, and a graph of it for ONNX Runtime.
pub(super) const MAKERS: &[&str] = &["numpy==2.4.6", "onnx==1.23.2", "safetensors==0.8.0", "tokenizers==0.23.3"];

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
            Self::OnnxRuntime => "ONNX Runtime",
            Self::SentenceTransformers => "sentence-transformers",
            Self::Libmf => "LIBMF",
            Self::Surprise => "scikit-surprise",
            Self::Implicit => "implicit",
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
            Self::OnnxRuntime => "onnxruntime",
            Self::SentenceTransformers => "sentence_transformers",
            Self::Libmf => "libmf",
            Self::Surprise => "surprise",
            Self::Implicit => "implicit",
        };
        format!("{work}_{name}")
    }

    pub(super) fn origin(self) -> Origin {
        match self {
            Self::Duckdb => Origin::package("duckdb", "2.0.0", &[]),
            Self::Polars => Origin::package("polars", "2.1.0", &[]),
            Self::Spark => Origin::package("pyspark", "4.3.0", &[]),
            Self::Ray => Origin::package("ray[default]", "2.60.0", NUMPY),
            Self::Ballista => Origin::Crate("ballista"),
            Self::Distributed => Origin::Crate("datafusion-distributed"),
            Self::OnnxRuntime => Origin::package("onnxruntime", "1.32.0", MAKERS),
            Self::SentenceTransformers => Origin::package("sentence-transformers", "6.2.0", TORCH),
            Self::Libmf => Origin::package("libmf", "0.9.2", NUMPY),
            Self::Surprise => Origin::package("scikit-surprise", "1.1.5", NUMPY),
            Self::Implicit => Origin::package("implicit", "0.7.3", NUMPY),
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
