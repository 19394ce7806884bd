//! Peers that are Rust programs: the crate in `bench/peers/engines`, which has a lock file of its own and is built when one of
//! them is asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

const CRATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/engines");
const LOCK: &str = include_str!("../../peers/engines/Cargo.lock");

/// Builds all programs, as far as they are not built yet.
pub(super) fn build(tools: &Path, program: &str) -> anyhow::Result<()> {
    let source = Path::new(CRATE).join(format!("src/bin/{program}.rs"));
    ensure!(source.exists(), "there is no {}", source.display());
    let target = target(tools);
    if !binary(tools, program).exists() {
        eprintln!("building {CRATE} in {}: this takes many minutes", target.display());
    }
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(Path::new(CRATE).join("Cargo.toml"));
    let status = cargo.arg("--target-dir").arg(target).status().context("cargo cannot be started")?;
    ensure!(status.success(), "it cannot be built, see above");
    Ok(())
}

/// Where a program is once it is built.
pub(super) fn binary(tools: &Path, program: &str) -> PathBuf {
    target(tools).join("release").join(program)
}

fn target(tools: &Path) -> PathBuf {
    tools.join("engines")
}

/// The version of a crate that the programs are built with.
pub(super) fn version(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split_once(&entry).and_then(|(_, rest)| rest.split_once('"'));
    version.map_or("unknown", |(version, _)| version)
}
