//! The data that is measured on: made once per size by `tandem data gen`, kept for the next run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cluster::binary;

/// The folder for measurements, made if it is not there.
pub(crate) fn folder(path: &Path) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(path)?;
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A folder with the tables of TPC-H as Parquet files.
pub(crate) fn tpch(folder: &Path, scale: &str) -> anyhow::Result<PathBuf> {
    generate(folder, &format!("tpch-{scale}"), &["tpch", "--scale", scale])
}

/// A folder with `events.csv`, of which the fraction `dirty` of the rows is flawed, and `products.csv`.
pub(crate) fn events(folder: &Path, rows: u64, dirty: f64) -> anyhow::Result<PathBuf> {
    let (rows, dirty) = (rows.to_string(), dirty.to_string());
    generate(folder, &format!("events-{rows}-{dirty}"), &["events", "--rows", &rows, "--dirty", &dirty])
}

/// A folder with `sales.parquet`.
pub(crate) fn sales(folder: &Path, rows: u64) -> anyhow::Result<PathBuf> {
    let rows = rows.to_string();
    generate(folder, &format!("sales-{rows}"), &["sales", "--rows", &rows, "--format", "parquet"])
}

fn generate(folder: &Path, name: &str, what: &[&str]) -> anyhow::Result<PathBuf> {
    made_once(folder.join(name), |part| {
        run(Command::new(binary()?).args(["data", "gen"]).args(what).arg("--out").arg(part))
    })
}

/// Makes a file or folder, unless it is there. `make` is given the path to use until all is done.
pub(crate) fn made_once(path: PathBuf, make: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    if !path.exists() {
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        eprintln!("making {}", path.display());
        make(&part)?;
        std::fs::rename(part, &path)?;
    }
    Ok(path)
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

/// Bytes of the file, which is now in the page cache, as it is for everybody who reads it next.
pub(crate) fn warm(path: &Path) -> anyhow::Result<u64> {
    Ok(std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink())?)
}

/// An empty folder.
pub(crate) fn empty(path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(std::fs::create_dir_all(path)?)
}
