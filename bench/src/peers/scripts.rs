//! Peers that are scripts: `bench/peers/*.py`, in a virtual environment with packages from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::Peer;
use super::peer::Package;

/// What LIBMF is compiled with, as in its own makefile.
const LIBMF_FLAGS: &str = "-O3 -march=native -DUSEAVX";

/// Makes a peer's script ready to run, once.
pub(super) fn install(tools: &Path, peer: Peer, package: &Package, program: &str) -> anyhow::Result<()> {
    let script = script(program);
    ensure!(script.exists(), "there is no {}", script.display());
    if peer == Peer::Spark {
        quietly(Command::new("java").arg("-version")).context("it needs Java")?;
    }
    if peer == Peer::Ray {
        quietly(Command::new("unshare").args(["--net", "true"])).context("it needs a network of its own")?;
    }
    let Package { name, version, further } = package;
    let wanted = format!("{name}=={version}");
    let packages: Vec<&str> = [wanted.as_str()].into_iter().chain(further.iter().copied()).collect();
    let mut pip = pip(tools);
    if peer == Peer::Libmf {
        // It comes without vector instructions, and with its sources. For C++ as new and as old tools for building call it.
        pip.args(["--no-binary=libmf", "--no-cache-dir"]).env("CXXFLAGS", LIBMF_FLAGS).env("CFLAGS", LIBMF_FLAGS);
    }
    add(tools, pip, &packages)
}

/// Installs what arguments to come name.
pub(super) fn pip(tools: &Path) -> Command {
    let mut pip = Command::new(tools.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Gets packages from PyPI, once.
pub(super) fn add(tools: &Path, mut pip: Command, packages: &[&str]) -> anyhow::Result<()> {
    let marker = tools.join(packages.join("+"));
    if marker.exists() {
        return Ok(());
    }
    eprintln!("installing {} in {}", packages.join(", "), tools.display());
    if !tools.join("bin/pip").exists() {
        quietly(Command::new("python3").args(["-m", "venv"]).arg(tools))?;
    }
    quietly(pip.args(packages))?;
    Ok(std::fs::write(marker, "")?)
}

/// Runs a script, which may use `threads` cores.
pub(super) fn command(tools: &Path, program: &str, threads: u32) -> Command {
    let mut command = Command::new(tools.join("bin/python"));
    // What must be known before a script can say it: threads of libraries, and where Spark listens.
    command.env("POLARS_MAX_THREADS", threads.to_string()).env("OMP_NUM_THREADS", threads.to_string());
    command.env("OPENBLAS_NUM_THREADS", "1").env("SPARK_LOCAL_IP", "127.0.0.1");
    command.arg(script(program));
    command
}

fn script(program: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("peers/{program}.py"))
}

fn quietly(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.trim().lines().last().unwrap_or("it does not say why"));
    Ok(())
}
